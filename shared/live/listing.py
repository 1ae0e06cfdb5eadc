"""The RayClusters of one namespace (or of all), listed once and kept current by one watch in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import structlog
from kubernetes.watch import Watch

from shared.errors import KubernetesUnavailable
from shared.live.kubernetes import KubernetesApi, ListingExpired
from shared.live.port import LiveCluster

# Waits between attempts after a failure, in seconds; a watch that lasted longer than the longest one was a good one.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
_SHORT_WATCH = 1.0
_STOPPING = 2.0

_log = structlog.get_logger(__name__)


class Listing:
    """Starts with its first listing at once; `stop()` ends the thread."""

    def __init__(self, api: KubernetesApi, namespace: str, resync: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._namespace = namespace
        self._resync = resync
        self._clock = clock
        self._lock = threading.Lock()
        self._clusters: dict[str, LiveCluster] = {}
        self._current_at: float | None = None
        self._watching = False
        self._watch: Watch | None = None
        self._stopping = threading.Event()
        self._listed = threading.Event()
        self._error: KubernetesUnavailable | None = None
        self._thread = threading.Thread(target=self._run, name=f"rayclusters-{namespace or 'all'}", daemon=True)
        self._thread.start()

    def clusters(self) -> dict[str, LiveCluster]:
        """By `LiveCluster.key`; empty before the first listing."""
        with self._lock:
            return dict(self._clusters)

    def get(self, key: str) -> LiveCluster | None:
        with self._lock:
            return self._clusters.get(key)

    def age(self) -> float | None:
        """Seconds since this was known to be current: 0 while watching, None before the first listing."""
        with self._lock:
            if self._current_at is None:
                return None
            return 0.0 if self._watching else self._clock() - self._current_at

    @property
    def error(self) -> KubernetesUnavailable | None:
        """What went wrong last, until a listing succeeds."""
        return self._error

    def wait_for_first(self, deadline: float) -> None:
        """Until there is a listing or an error, or the clock reads `deadline`."""
        while not self._listed.is_set() and self._error is None and self._clock() < deadline:
            self._listed.wait(0.05)

    def stop(self) -> None:
        self._stopping.set()
        deadline = time.monotonic() + _STOPPING
        while self._thread.is_alive() and time.monotonic() < deadline:
            stream = self._watch
            if stream is not None:
                stream.stop()  # type: ignore[no-untyped-call]
            self._thread.join(timeout=0.1)  # a watch that was just being opened does not hear the first stop

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        version, listed_at = "", 0.0
        while not self._stopping.is_set():
            began = self._clock()
            try:
                if not version or began - listed_at >= self._resync:
                    version, listed_at = self._list(), began
                version = self._follow(version, until=listed_at + self._resync)
            except ListingExpired:
                version = ""
            except KubernetesUnavailable as exc:
                version = ""  # what changed meanwhile may be more than a watch can tell
                self._lost(exc)
            except Exception as exc:  # noqa: BLE001 - the thread's boundary: a listing must not stay silently stale
                version = ""
                self._lost(KubernetesUnavailable(f"Kubernetes: {type(exc).__name__}: {exc}"))
                _log.exception("raycluster_watch_failed", namespace=self._namespace)
            else:
                pause = _FIRST_PAUSE
                continue
            if self._clock() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            self._stopping.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _list(self) -> str:
        clusters, version = self._api.list_clusters(self._namespace)
        with self._lock:
            self._clusters = {cluster.key: cluster for cluster in clusters}
            self._current_at = self._clock()
            self._watching = True
            self._error = None
        self._listed.set()
        return version

    def _follow(self, version: str, until: float) -> str:
        """Apply one watch's changes; the resource version to go on from."""
        started = self._clock()
        with closing(self._api.watch_clusters(self._namespace, version, until - started, self._opened)) as changes:
            for change in changes:
                version = change.version
                with self._lock:
                    if change.cluster:
                        self._clusters[change.cluster.key] = change.cluster
                    elif change.gone:
                        self._clusters.pop(change.gone, None)
                    self._current_at = self._clock()
                if self._stopping.is_set() or self._clock() >= until:
                    break
        with self._lock:
            self._current_at = self._clock()
        if self._clock() - started < _SHORT_WATCH:
            # Something between here and the API server closes connections: do not open them in a tight loop.
            self._stopping.wait(_FIRST_PAUSE)
        return version

    def _opened(self, stream: Watch) -> None:
        self._watch = stream

    def _lost(self, error: KubernetesUnavailable) -> None:
        """The listing's age counts from the last sign of life, not from the moment that the loss was noticed."""
        if self._stopping.is_set():
            return
        with self._lock:
            self._error = error
            self._watching = False
        _log.warning("raycluster_watch_broken", namespace=self._namespace, error=str(error))
