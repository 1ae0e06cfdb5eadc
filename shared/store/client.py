"""The one place that opens Redis connections, and that turns the client's errors into ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis as SyncRedis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.errors import SettingsError, StoreUnavailable
from shared.settings import RedisSettings
from shared.store.metered import MeteredAsyncRedis, MeteredRedis

__all__ = ["AsyncRedis", "SyncRedis", "open_async_redis", "open_redis", "redis_errors"]

_PASSWORD = re.compile(r"//[^@/\s]*@")
_RETRIED = [RedisConnectionError, RedisTimeoutError]


def open_redis(settings: RedisSettings) -> SyncRedis:
    """A thread-safe client for workers. Open it after any fork. Raises SettingsError."""
    with _settings_errors():
        return MeteredRedis.from_url(
            settings.url,
            **_trust(settings),
            socket_timeout=settings.redis_timeout,
            socket_connect_timeout=settings.redis_timeout,
            socket_keepalive=True,
            health_check_interval=30,
            max_connections=settings.redis_connections,
            client_name="ray-history-worker",
            retry=Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), 3),
            retry_on_error=_RETRIED,
        )


def open_async_redis(settings: RedisSettings) -> AsyncRedis:
    """A client for one event loop. Raises SettingsError."""
    with _settings_errors():
        return MeteredAsyncRedis.from_url(
            settings.url,
            **_trust(settings),
            socket_timeout=settings.redis_timeout,
            socket_connect_timeout=settings.redis_timeout,
            socket_keepalive=True,
            health_check_interval=30,
            max_connections=settings.redis_connections,
            client_name="ray-history-api",
            retry=AsyncRetry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1),
            retry_on_error=_RETRIED,
        )


def _trust(settings: RedisSettings) -> dict[str, Any]:
    """TLS (`rediss://`) is always verified; by the system's authorities unless one of our own is set."""
    return {"ssl_ca_certs": settings.redis_ca} if settings.redis_ca and settings.url.startswith("rediss://") else {}


@contextmanager
def redis_errors() -> Iterator[None]:
    """Whatever goes wrong with Redis inside is StoreUnavailable."""
    try:
        yield
    except (RedisError, OSError) as exc:
        raise StoreUnavailable(f"Redis can't be asked: {_PASSWORD.sub('//***@', str(exc)) or type(exc).__name__}") from exc


@contextmanager
def _settings_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as exc:
        raise SettingsError(f"RAY_HISTORY_REDIS_URL: {_PASSWORD.sub('//***@', str(exc))}") from None
