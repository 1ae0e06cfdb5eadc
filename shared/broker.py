"""Celery's broker: the Redis itself, or what RAY_HISTORY_BROKER_URL names, and the names of tasks and queues on it.

Our URLs become Celery's, with its transports' options. By the names alone the API and the workers know each other.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES

from shared.errors import SettingsError
from shared.settings import RedisSettings
from shared.snapshot_format import FORMAT
from shared.store.address import RedisAddress, is_redis, without_secrets
from shared.store.keys import Keyspace
from shared.store.start_check import check_redis

# This session wants loading: `session`, `generation`.
LOAD_SESSION = "ray_history.load_session"
# Does the bucket hold more of this loaded session: `session`, `snapshot`.
CHECK_SESSION = "ray_history.check_session"
# This load wants a hand: `session`, `generation`, `attempt`.
WORK_ON_LOAD = "ray_history.work_on_load"


def loads_queue(keyspace: Keyspace) -> str:
    """For LOAD_SESSION and CHECK_SESSION. Each storage and snapshot format has its own: its workers have the sender's keys."""
    return f"ray-history.loads.v{FORMAT}.{keyspace.storage}"


def steps_queue(keyspace: Keyspace) -> str:
    """For WORK_ON_LOAD."""
    return f"ray-history.steps.v{FORMAT}.{keyspace.storage}"


def broker_prefix(prefix: str) -> str:
    """What the broker's keys in Redis begin with."""
    return f"{prefix}:celery:"


_VARIABLE = "RAY_HISTORY_BROKER_URL"


@dataclass(frozen=True, slots=True)
class Broker:
    """What Celery is configured with. `redis`: the settings to reach it as a Redis, where it is one."""

    url: str
    options: dict[str, Any]
    tls: dict[str, Any] | None
    redis: RedisSettings | None


def broker_of(settings: RedisSettings, visibility_timeout: int) -> Broker:
    """`visibility_timeout`: seconds after which a Redis gives a message to another worker. Raises SettingsError."""
    url = settings.broker or settings.url
    scheme = url.partition("://")[0]
    if not is_redis(url):
        if not settings.broker:
            # The store's own client says what is wrong with it.
            raise SettingsError("RAY_HISTORY_REDIS_URL: must start with redis://, rediss://, unix://, sentinel:// or cluster://")
        if scheme.partition("+")[0] not in TRANSPORT_ALIASES or scheme == "memory" or "://" not in url:
            raise SettingsError(
                f"{_VARIABLE}: must start with redis://, rediss://, unix://, sentinel://, amqp:// or another scheme of Celery"
            )
        trust = _trust(settings) if scheme in ("amqps", "pyamqp+ssl") else None
        return Broker(url, {"confirm_publish": True} if scheme in ("amqp", "amqps", "pyamqp") else {}, trust, None)
    try:
        address = RedisAddress.parse(url)
    except ValueError as exc:
        raise SettingsError(f"{_VARIABLE if settings.broker else 'RAY_HISTORY_REDIS_URL'}: {exc}") from None
    if address.kind == "cluster":
        why = "Celery cannot use a Redis Cluster as its broker: give another Redis (redis://...) or RabbitMQ (amqp://...)"
        raise SettingsError(
            f"{_VARIABLE}: {why}" if settings.broker else f"{_VARIABLE} is not set, and RAY_HISTORY_REDIS_URL is a Cluster: {why}"
        )
    options: dict[str, Any] = {
        "visibility_timeout": visibility_timeout,
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_keepalive": True,
        "client_name": "ray-history-queue",
        "global_keyprefix": broker_prefix(settings.redis_prefix),
        # In turns, so that neither queue starves.
        "queue_order_strategy": "round_robin",
    }
    trust = _trust(settings) | {name: value for name, value in address.options.items() if name.startswith("ssl_")} if address.tls else None
    if address.kind == "sentinel":
        named = {"username": address.sentinel_username, "password": address.sentinel_password}
        timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
        with_tls = {"ssl": True, **trust} if trust else {}
        options |= {"master_name": address.master, "sentinel_kwargs": timeouts | named | with_tls}
    return Broker(
        _url(address), options, trust, settings.model_copy(update={"redis_url": settings.broker_url}) if settings.broker else settings
    )


def check_broker(settings: RedisSettings) -> None:
    """Can it be reached? Raises SettingsError: one line that names the variable and no secret."""
    broker = broker_of(settings, 1)
    if broker.redis:
        check_redis(broker.redis, _VARIABLE if settings.broker else "RAY_HISTORY_REDIS_URL")
        return
    try:
        with Connection(broker.url, ssl=broker.tls or False, connect_timeout=settings.redis_timeout) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.3, timeout=settings.redis_timeout)
    except Exception as exc:  # noqa: BLE001 - each transport has errors of its own
        said = without_secrets(str(exc)) or type(exc).__name__
        raise SettingsError(f"{_VARIABLE}: {without_secrets(broker.url)} cannot be used: {said}") from None


def _url(address: RedisAddress) -> str:
    user = ":".join(quote(part or "", safe="") for part in (address.username, address.password))
    user = f"{user}@" if address.username or address.password else ""
    if address.path:
        return f"redis+socket://{user}{address.path}?virtual_host={address.db}"
    scheme = "sentinel" if address.kind == "sentinel" else "rediss" if address.tls else "redis"
    hosts = [f"[{host}]" if ":" in host else host for host, _ in address.nodes]
    return ";".join(f"{scheme}://{user}{host}:{port}/{address.db}" for host, (_, port) in zip(hosts, address.nodes, strict=True))


def _trust(settings: RedisSettings) -> dict[str, Any]:
    """Verified, by the system's authorities unless one of our own is set."""
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": settings.redis_ca or None}
