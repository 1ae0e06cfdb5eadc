"""obstore in this process: options of its clients, the guard of its Rust runtime against forks, and what its exceptions mean."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.settings import StorageSettings
from shared.storage.retries import Failure

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_started_in: int | None = None


def usable() -> bool:
    """Ask before every use: threads of the runtime do not survive a fork, and a child that inherits it would hang for ever."""
    global _started_in  # noqa: PLW0603  the runtime is one per process
    if _started_in is None:
        _started_in = os.getpid()
    return _started_in == os.getpid()


def client_options(settings: StorageSettings, scheme: str) -> ClientConfig:
    """Deadlines and connections as the settings say."""
    return {
        "allow_http": scheme == "http",
        "timeout": timedelta(seconds=settings.storage_timeout),
        "connect_timeout": timedelta(seconds=min(settings.storage_timeout, 5.0)),
        "read_timeout": timedelta(seconds=settings.storage_timeout / 3),
        "pool_max_idle_per_host": str(settings.storage_connections),
        "pool_idle_timeout": timedelta(seconds=60),
    }


# Retries are ours: they cover bodies, know when a store is down, and keep one deadline over all attempts.
NO_RETRIES: RetryConfig = {"max_retries": 0}


_STATUS = re.compile(r"status code: (\d{3})")
# Of addresses only the part that holds no signature is shown.
_QUERY = re.compile(r"\?\S*")
_NOISE = re.compile(r"^(?:Generic \S+ error: )?(?:Error performing \S+ )?")
_CERTIFICATE = re.compile(r"certificate", re.IGNORECASE)
_CREDENTIALS = re.compile(r"credential|token|metadata\.google|oauth|imds", re.IGNORECASE)
_EXPIRED = re.compile(r"expired", re.IGNORECASE)


def meaning_of(exc: Exception, where: str, key: str = "") -> Failure | None:
    """`where` is the store's URL, for the message. None: the exception comes from somewhere else.

    A missing object and a missing bucket look alike here: the adapter asks again.
    """
    if isinstance(exc, InvalidPathError):
        return _unavailable(where, f"holds a key that obstore cannot name: {str(exc).partition(chr(10))[0][:200]}")
    if isinstance(exc, (FileNotFoundError, NotFoundError)) or (isinstance(exc, ValueError) and "parse path" in str(exc)):
        return Failure(ObjectNotFound(f"{key}: not in {where}"))
    if not isinstance(exc, (BaseError, OSError, ValueError)):
        return None
    text = str(exc)
    first = _QUERY.sub("", _NOISE.sub("", text.partition("\n")[0]))[:300]
    status = status_of(exc)
    if _EXPIRED.search(first):
        return _unavailable(where, f"the credentials have expired: {first}")
    if isinstance(exc, (PermissionDeniedError, PermissionError, UnauthenticatedError)) or status in (401, 403):
        return _unavailable(where, f"access denied: {first}")
    if status == 404:
        return _unavailable(where, "there is no such bucket or container")
    if isinstance(exc, PreconditionError):
        return _unavailable(where, f"{key} changed while it was read")
    if _CERTIFICATE.search(text):
        return _unavailable(where, f"TLS failed: {first}")
    if status and status < 500 and status not in (408, 429):
        return _unavailable(where, first)
    if isinstance(exc, ValueError) or (not status and _CREDENTIALS.search(first)):
        return _unavailable(where, f"no usable credentials or settings: {first}")
    return _unavailable(where, first, transient=True)


def status_of(exc: Exception) -> int:
    """The HTTP status that the store answered; 0 when it did not."""
    match = _STATUS.search(str(exc))
    return int(match[1]) if match else 0


def _unavailable(where: str, reason: str, *, transient: bool = False) -> Failure:
    return Failure(StorageUnavailable(f"storage {where}: {reason}"), transient)
