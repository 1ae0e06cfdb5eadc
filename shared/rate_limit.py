"""Calls per second, with a burst: how client-go bounds what one process asks of the Kubernetes API, and we what one caller asks of us."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimit:
    """A token bucket of `burst` calls that refills at `qps` per second. Thread-safe."""

    def __init__(
        self, qps: float, burst: int, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._qps = qps
        self._burst = float(burst)
        self._clock = clock
        self._sleep = sleep
        self._left = self._burst
        self._at = clock()
        self._lock = threading.Lock()

    def wait(self) -> float:
        """Seconds until the next turn: 0 when one may be taken now."""
        with self._lock:
            return self._wait()

    def take(self, within: float) -> bool:
        """Wait for a turn. False, at once and without taking it, when that would last longer than `within` seconds."""
        with self._lock:
            wait = self._wait()
            if wait > within:
                return False
            self._left -= 1.0
        if wait:
            self._sleep(wait)
        return True

    def _wait(self) -> float:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._qps)
        self._at = now
        return max(0.0, (1.0 - self._left) / self._qps)
