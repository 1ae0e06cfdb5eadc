"""Answers of Kubernetes that are kept for a few seconds, read once for all who ask at the same time, and outlive a short outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from shared.errors import KubernetesUnavailable

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_MOST = 4096
# A burst of callers that all want a fresh answer shares one.
FRESH = 1.0


class KubernetesSaysNo(KubernetesUnavailable):
    """Kubernetes was asked, and what is needed is missing there: no former answer may stand in for it."""


@dataclass(slots=True)
class _Answer(Generic[_V]):
    value: _V
    read_at: float
    tried_at: float


class KubernetesCache(Generic[_K, _V]):
    """Values by key. Thread-safe."""

    def __init__(self, seconds: float, *, usable: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        """A value is read anew after `seconds`; while that fails with an outage, the last one is used until it is `usable` seconds old."""
        self._seconds = seconds
        self._usable = usable
        self._clock = clock
        self._answers: LRUCache[_K, _Answer[_V]] = LRUCache(_MOST)
        self._reading: dict[_K, Future[_V]] = {}
        self._lock = threading.Lock()

    def get(self, key: _K, read: Callable[[], _V], *, fresh: bool = False) -> _V:
        """The kept value, or what `read` returns; `fresh`: one that is not older than a second.

        Raises what `read` raises, to every caller that waited for it; failures are never kept.
        """
        limit = min(self._seconds, FRESH) if fresh else self._seconds
        with self._lock:
            answer = self._answers.get(key)
            if answer and self._clock() - answer.tried_at < limit:
                return answer.value
            future = self._reading.get(key)
            mine = future is None
            if future is None:
                future = self._reading[key] = Future()
        if mine:
            self._read(key, read, future, fresh=fresh)
        return future.result()

    def _read(self, key: _K, read: Callable[[], _V], future: Future[_V], *, fresh: bool) -> None:
        try:
            value = read()
            with self._lock:
                now = self._clock()
                self._answers[key] = _Answer(value, now, now)
                del self._reading[key]
            future.set_result(value)
        except BaseException as exc:  # noqa: BLE001 - it is the waiting callers' too; they all raise it
            with self._lock:
                del self._reading[key]
                answer = self._answers.get(key)
                if isinstance(exc, KubernetesSaysNo):
                    self._answers.pop(key, None)
                    answer = None
                now = self._clock()
                stands_in = not fresh and isinstance(exc, KubernetesUnavailable) and answer and now - answer.read_at < self._usable
                if stands_in and answer:
                    answer.tried_at = now  # the next try is due after `seconds`, so that an outage does not delay every request
            if stands_in and answer:
                future.set_result(answer.value)
            else:
                future.set_exception(exc)
