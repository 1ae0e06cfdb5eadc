"""A right that one process at a time has, held by a lock in Redis that is renewed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import LockError

from shared.errors import StoreUnavailable
from shared.store.client import redis_errors

log = structlog.get_logger()


@contextmanager
def held_lock(redis: Redis, key: str, lease: float) -> Iterator[threading.Event | None]:
    """While inside, the right is ours; None while another process has it. The event is set when it is lost to another one.

    It is free again `lease` seconds after this process was lost. Raises StoreUnavailable.
    """
    lock = redis.lock(key, timeout=lease, blocking=False, thread_local=False)
    with redis_errors():
        taken = lock.acquire()
    if not taken:
        yield None
        return
    lost, done = threading.Event(), threading.Event()
    renewer = threading.Thread(target=_keep_renewing, args=(lock, lease, done, lost), name="lock-renewal", daemon=True)
    renewer.start()
    try:
        yield lost
    finally:
        done.set()
        renewer.join()
        with redis_errors(), suppress(LockError):
            lock.release()


def _keep_renewing(lock: Any, lease: float, done: threading.Event, lost: threading.Event) -> None:
    while not done.wait(lease / 3):
        try:
            with redis_errors():
                lock.reacquire()
        except LockError:
            lost.set()
            return
        except StoreUnavailable as exc:
            # Redis may be back before the lease ends; if it is not, the next answer says that it is lost.
            log.warning("lock not renewed", lock=lock.name, error=str(exc))
