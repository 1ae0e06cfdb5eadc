"""The one place that opens Redis connections, whatever the topology, and that turns the client's errors into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from redis import BlockingConnectionPool
from redis import Redis as SyncRedis
from redis import utils as redis_utils
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.errors import SettingsError, StoreFull, StoreUnavailable
from shared.settings import RedisSettings
from shared.store.address import RedisAddress, without_secrets
from shared.store.metered import MeteredAsyncRedis, MeteredAsyncRedisCluster, MeteredRedis, MeteredRedisCluster
from shared.store.pools import open_async_pool, open_pool

__all__ = ["AsyncRedis", "SyncRedis", "open_async_redis", "open_redis", "redis_errors"]

# Each new connection, Celery's too, would read and parse the package's metadata for it: 2 ms and 2 MB.
redis_utils.get_lib_version = cache(redis_utils.get_lib_version)

_RETRIED = [RedisConnectionError, RedisTimeoutError]


def open_redis(settings: RedisSettings, *, retries: int = 3) -> SyncRedis:
    """A thread-safe client for workers. Open it after any fork. `retries`: of a call that was cut off or not answered in time.

    A Cluster is asked for its nodes here already. Raises SettingsError and StoreUnavailable.
    """
    with _settings_errors(), redis_errors():
        address = RedisAddress.parse(settings.url)
        options = _options(settings, "ray-history-worker") | {"retry": Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), retries)}
        if address.kind == "cluster":
            # Only with a URL does it take a pool that waits.
            one = f"{'rediss' if address.tls else 'redis'}://{address.nodes[0][0]}:{address.nodes[0][1]}"
            options |= {"connection_pool_class": BlockingConnectionPool, "timeout": settings.redis_timeout}
            nodes = [ClusterNode(host, port) for host, port in address.nodes]
            # Of the same commands; a pipeline that is no transaction may go to several nodes.
            return cast("SyncRedis", MeteredRedisCluster(url=one, startup_nodes=nodes, **_of_cluster(address, settings), **options))
        pool = open_pool(address, options | _waiting(settings), _tls(settings))
        # Refuses options that no connection has, before the first call does.
        pool.connection_class(**pool.connection_kwargs)
        return MeteredRedis.from_pool(pool)


def open_async_redis(settings: RedisSettings) -> AsyncRedis:
    """A client for one event loop. Raises SettingsError."""
    with _settings_errors():
        address = RedisAddress.parse(settings.url)
        options = _options(settings, "ray-history-api") | {"retry": AsyncRetry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1)}
        if address.kind == "cluster":
            nodes = [AsyncClusterNode(host, port) for host, port in address.nodes]
            tls = {"ssl": True} if address.tls else {}
            return cast("AsyncRedis", MeteredAsyncRedisCluster(startup_nodes=nodes, **tls, **_of_cluster(address, settings), **options))
        pool = open_async_pool(address, options | _waiting(settings), _tls(settings))
        pool.connection_class(**pool.connection_kwargs)
        return MeteredAsyncRedis.from_pool(pool)


def _options(settings: RedisSettings, client_name: str) -> dict[str, Any]:
    return {
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_keepalive": True,
        "health_check_interval": 30,
        "max_connections": settings.redis_connections,
        "client_name": client_name,
    }


def _waiting(settings: RedisSettings) -> dict[str, Any]:
    """A server's or master's pool: whoever finds all connections taken waits as long as a call may take."""
    return {"timeout": settings.redis_timeout, "retry_on_error": _RETRIED}


def _of_cluster(address: RedisAddress, settings: RedisSettings) -> dict[str, Any]:
    named = {"username": address.username, "password": address.password}
    return named | (_tls(settings) if address.tls else {}) | address.options


def _tls(settings: RedisSettings) -> dict[str, Any]:
    """TLS is always verified; by the system's authorities unless one of our own is set."""
    return {"ssl_ca_certs": settings.redis_ca} if settings.redis_ca else {}


@contextmanager
def redis_errors() -> Iterator[None]:
    """Whatever goes wrong with Redis inside is StoreUnavailable, or StoreFull."""
    try:
        yield
    except OutOfMemoryError as exc:
        raise StoreFull(f"Redis is at its memory limit (maxmemory): {exc}") from exc
    except (RedisError, RedisClusterException, OSError) as exc:
        raise StoreUnavailable(f"Redis can't be asked: {without_secrets(str(exc)) or type(exc).__name__}") from exc


@contextmanager
def _settings_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as exc:
        raise SettingsError(f"RAY_HISTORY_REDIS_URL: {without_secrets(str(exc))}") from None
    except TypeError as exc:
        unknown = str(exc).rpartition(" ")[2]
        raise SettingsError(f"RAY_HISTORY_REDIS_URL: has an option that there is not: {unknown}") from None
