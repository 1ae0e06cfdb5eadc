"""Answers that are kept for a few seconds and read by one thread at a time per key. Failures are never kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache, TTLCache

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_MOST = 4096


class Kept(Generic[_K, _V]):
    """Values by key, each for `seconds` (0: a burst of callers still shares nothing). Thread-safe."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._values: TTLCache[_K, _V] = TTLCache(_MOST, max(seconds, 1e-9), timer=clock)
        self._readers: LRUCache[_K, threading.Lock] = LRUCache(_MOST)
        self._lock = threading.Lock()

    def get(self, key: _K, read: Callable[[], _V], *, fresh: bool = False) -> _V:
        """The kept value, or what `read` returns; its error reaches every caller that would have waited for it, one read each."""
        if not fresh and (kept := self._look(key)):
            return kept[0]
        with self._lock:
            reader = self._readers.setdefault(key, threading.Lock())
        with reader:
            if not fresh and (kept := self._look(key)):
                return kept[0]
            value = read()
            with self._lock:
                self._values[key] = value
            return value

    def _look(self, key: _K) -> tuple[_V] | None:
        with self._lock:
            try:
                return (self._values[key],)
            except KeyError:
                return None
