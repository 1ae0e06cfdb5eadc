"""The check at a start: a Redis URL that is wrong must stop it with one line, instead of failing every request."""

from __future__ import annotations

from contextlib import suppress

from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from shared.errors import SettingsError, StoreUnavailable
from shared.settings import RedisSettings
from shared.store.address import RedisAddress, without_secrets
from shared.store.client import open_redis

# The URL is right, only the server is not ready yet: what runs waits for it.
_PASSING = (BusyLoadingError, ClusterDownError, MasterDownError, OutOfMemoryError)
_CERTAIN = ("Invalid Database", "is not enabled")
_PASSING_TEXT = ("MISCONF", "LOADING")


def check_redis(settings: RedisSettings, variable: str = "RAY_HISTORY_REDIS_URL") -> None:
    """Can keys be written there? Who does not answer is asked again for `redis_timeout` seconds: it may be starting, too.

    Raises SettingsError: one line that names the variable and no secret.
    """
    try:
        address = RedisAddress.parse(settings.url)
    except ValueError as exc:
        raise SettingsError(f"{variable}: {exc}") from None
    asking = Retrying(
        retry=retry_if_exception(_may_start), stop=stop_after_delay(settings.redis_timeout), wait=wait_fixed(0.3), reraise=True
    )
    try:
        asking(_try, settings, address)
    except SettingsError as exc:
        raise SettingsError(str(exc).replace("RAY_HISTORY_REDIS_URL", variable)) from None
    except (StoreUnavailable, RedisError, RedisClusterException, OSError) as exc:
        cause = exc.__cause__ if isinstance(exc, StoreUnavailable) and exc.__cause__ else exc
        if not isinstance(cause, _PASSING) and not str(cause).startswith(_PASSING_TEXT):
            raise SettingsError(f"{variable}: {address.where} {_reason(cause, address)}") from None


def _try(settings: RedisSettings, address: RedisAddress) -> None:
    client: Redis = open_redis(settings, retries=0)
    try:
        if address.kind == "server":
            with suppress(NoPermissionError):
                if client.info("cluster").get("cluster_enabled"):
                    raise SettingsError(
                        f"RAY_HISTORY_REDIS_URL: {address.where} is a node of a Redis Cluster: write cluster:// for redis://"
                    )
        client.set(f"{settings.redis_prefix}:start-check", 1, px=1000)
    finally:
        client.close()


def _may_start(error: BaseException) -> bool:
    cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
    away = isinstance(cause, RedisConnectionError | RedisTimeoutError | RedisClusterException | OSError)
    certain = isinstance(cause, AuthenticationError | BusyLoadingError) or any(text in str(cause) for text in _CERTAIN)
    return away and not certain


def _reason(error: BaseException, address: RedisAddress) -> str:
    """What is wrong, to be read after the address. `error` may quote the URL."""
    said = without_secrets(str(error)) or type(error).__name__
    if isinstance(error, MasterNotFoundError):
        # It lists what each Sentinel said, by kind.
        if "auth:" in said:
            return "is not told: the Sentinels refuse user or password (sentinel_username, sentinel_password)"
        return "is not found: no Sentinel answers" if "network:" in said else "is not found: the Sentinels know no such master that is up"
    if isinstance(error, AuthenticationError) or "NOAUTH" in said or "Authentication required" in said:
        return f"refuses user or password ({said})"
    if isinstance(error, NoPermissionError):
        return f"does not let its user write ({said})"
    if isinstance(error, ReadOnlyError):
        return "is a read-only replica: give its master, or sentinel://"
    if "is not enabled" in said:
        return "is no Redis Cluster: write redis:// for cluster://"
    if "Invalid Database" in said or "DB index" in said:
        return f"has no database {address.db}"
    if "unknown command" in said:
        return f"is no Redis, or a Sentinel where a Redis was expected ({said[:80]})"
    if isinstance(error, ResponseError):
        return f"refuses ({said})"
    if "rotocol" in said:
        return f"is no Redis ({said[:80]})"
    hint = ""
    if "losed" in said or "Timeout" in said:
        hint = " (is it without TLS? redis://)" if address.tls else " (does it want TLS? rediss://)"
    return f"does not answer: {said}{hint}"
