"""obstore's Rust runtime in this process: its options, and the guard against forks."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

from shared.settings import StorageSettings

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
