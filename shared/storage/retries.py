"""Trying again: what may pass is retried with growing, random pauses, until a deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.metrics import STORAGE_RETRIES

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_MOST_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed attempt means for the caller, and whether another attempt may succeed."""

    error: ObjectNotFound | StorageUnavailable
    transient: bool = False


class Health:
    """Whether the store answers at all. While it does not, a call's first failure is its last: nobody waits for each object."""

    def __init__(self) -> None:
        self.down = False
        self._answered = 0.0

    def answered(self) -> None:
        self._answered = time.monotonic()
        self.down = False

    def gave_up(self, began: float) -> None:
        """A call that began then has no attempts left. One bad object among others that are read is no dead store."""
        self.down = self._answered < began


class Attempts:
    """The attempts of one call: at most `most`, and none begins later than `deadline` seconds after the last progress."""

    def __init__(self, health: Health, deadline: float, most: int = _MOST_ATTEMPTS) -> None:
        self._health = health
        self._deadline = deadline
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._failed = 0
        self._began = time.monotonic()

    def progressed(self) -> None:
        """Something was read: the count and the deadline begin anew."""
        self._health.answered()
        self._begin()

    def failed(self, failure: Failure, cause: Exception) -> None:
        """Pause before the next attempt, or raise the failure's error."""
        if not failure.transient:
            raise failure.error from cause
        self._failed += 1
        STORAGE_RETRIES.inc()
        # Full jitter: callers that were throttled together do not come back together.
        pause = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failed))  # noqa: S311
        # Asked now, not when the call began: others may have shown since that the store is back.
        most = 1 if self._health.down else self._most
        if self._failed >= most or time.monotonic() + pause > self._began + self._deadline:
            self._health.gave_up(self._began)
            raise failure.error from cause
        time.sleep(pause)


def retried(work: Callable[[], T], meaning: Callable[[Exception], Failure | None], attempts: Attempts) -> T:
    """What `work` returns; `meaning` tells what an exception means, None for one that is not the store's."""
    while True:
        try:
            result = work()
        except Exception as exc:
            failure = meaning(exc)
            if failure is None:
                raise
            attempts.failed(failure, exc)
        else:
            attempts.progressed()
            return result


def same_version(key: str, where: str, before: str, now: str | None) -> str:
    """The entity tag to go on with. Raises StorageUnavailable when the answer is of another version than the one begun with.

    Stores are asked for the same version (If-Match), but not all of them listen.
    """
    if before and now != before:
        raise StorageUnavailable(f"storage {where}: {key} changed while it was read")
    return now or ""
