"""The LiveDirectory of a Kubernetes cluster: one listing, kept fresh by one watch (per watched namespace) in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import structlog
from kubernetes.watch import Watch

from shared.errors import KubernetesUnavailable
from shared.live.kept import Kept
from shared.live.kubernetes import KubernetesApi, ListingExpired
from shared.live.owners import choose, owned_by
from shared.live.port import LiveCluster
from shared.sessions import SessionRef
from shared.settings import LiveSettings

# Waits between attempts after a failure, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
_SHORT_WATCH = 1.0

_log = structlog.get_logger(__name__)


class _Listing:
    """The clusters of one namespace (or of all), kept by one thread."""

    def __init__(self, api: KubernetesApi, namespace: str, resync: float, clock: Callable[[], float]) -> None:
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
        self.listed = threading.Event()
        self.error: KubernetesUnavailable | None = None
        self._thread = threading.Thread(target=self._run, name=f"rayclusters-{namespace or 'all'}", daemon=True)
        self._thread.start()

    def clusters(self) -> dict[str, LiveCluster]:
        with self._lock:
            return dict(self._clusters)

    def get(self, key: str) -> LiveCluster | None:
        with self._lock:
            return self._clusters.get(key)

    def age(self) -> float | None:
        with self._lock:
            if self._current_at is None:
                return None
            return 0.0 if self._watching else self._clock() - self._current_at

    def stop(self) -> None:
        self._stopping.set()
        stream = self._watch
        if stream is not None:
            stream.stop()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        version, listed_at = "", 0.0
        while not self._stopping.is_set():
            try:
                if not version or self._clock() - listed_at >= self._resync:
                    version, listed_at = self._list(), self._clock()
                version = self._follow(version, until=listed_at + self._resync)
                pause = _FIRST_PAUSE
            except ListingExpired:
                version = ""
            except KubernetesUnavailable as exc:
                if not self._stopping.is_set():
                    _log.warning("raycluster_watch_broken", namespace=self._namespace, error=str(exc), retry_in=pause)
                self.error = exc
                self._lost()
                # What changed meanwhile may be more than a watch can tell.
                version = ""
                self._stopping.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception as exc:  # noqa: BLE001 - the thread's boundary: a listing must not stay silently stale
                _log.exception("raycluster_watch_failed", namespace=self._namespace)
                self.error = KubernetesUnavailable(f"Kubernetes: {type(exc).__name__}: {exc}")
                self._lost()
                version = ""
                self._stopping.wait(_LONGEST_PAUSE)

    def _list(self) -> str:
        clusters, version = self._api.list_clusters(self._namespace)
        with self._lock:
            self._clusters = {cluster.key: cluster for cluster in clusters}
            self._current_at = self._clock()
            self._watching = True
        self.error = None
        self.listed.set()
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

    def _lost(self) -> None:
        # The listing's age counts from the last sign of life, not from the moment that the loss was noticed.
        with self._lock:
            self._watching = False


class KubernetesDirectory:
    """Running clusters as Kubernetes has them. The first use of the listing starts its watch; `fetch` needs none."""

    enabled = True

    def __init__(self, api: KubernetesApi, settings: LiveSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._start = threading.Lock()
        self._listings: list[_Listing] = []
        self._first_wait = threading.Event()
        self._tokens: Kept[tuple[str, str], str] = Kept(settings.token_age, clock=clock)
        self._active: Kept[tuple[str, str], str | None] = Kept(settings.live_check_age, clock=clock)

    def watch(self) -> None:
        """List and watch from now on; waits for the first listing, at most as long as one call may take."""
        with self._start:
            if not self._listings:
                names = self._settings.namespaces or ("",)
                self._listings = [_Listing(self._api, name, self._settings.kubernetes_resync, self._clock) for name in names]
        if not self._first_wait.is_set():
            deadline = self._clock() + self._settings.kubernetes_timeout
            for listing in self._listings:
                while not listing.listed.is_set() and listing.error is None and self._clock() < deadline:
                    listing.listed.wait(0.05)
            self._first_wait.set()

    def clusters(self) -> Sequence[LiveCluster]:
        found: dict[str, LiveCluster] = {}
        for listing in self._fresh_enough():
            found |= listing.clusters()
        return sorted(found.values(), key=lambda c: (c.created, c.key), reverse=True)

    def find(self, ref: SessionRef) -> LiveCluster | None:
        if ref.kind == "raycluster":
            return self.get(ref.namespace, ref.name)
        candidates = [c for c in self.clusters() if owned_by(c, ref)]
        if len(candidates) < 2 or ref.kind != "rayservice":
            return choose(candidates, None)
        return choose(candidates, self._active_cluster(ref.namespace, ref.name))

    def get(self, namespace: str, name: str) -> LiveCluster | None:
        key = f"{namespace}/{name}"
        return next((c for c in (listing.get(key) for listing in self._fresh_enough()) if c), None)

    def fetch(self, namespace: str, name: str) -> LiveCluster | None:
        return self._api.read_cluster(namespace, name)

    def token(self, cluster: LiveCluster, *, fresh: bool = False) -> str | None:
        if cluster.auth != "token" or cluster.token_secret is None:
            return None
        namespace, secret = cluster.namespace, cluster.token_secret
        return self._tokens.get((namespace, secret), lambda: self._api.read_token(namespace, secret), fresh=fresh)

    def age(self) -> float | None:
        ages = [listing.age() for listing in self._listings]
        known = [age for age in ages if age is not None]
        return max(known) if known and len(known) == len(ages) else None

    def close(self) -> None:
        for listing in self._listings:
            listing.stop()
        self._api.close()

    def _active_cluster(self, namespace: str, service: str) -> str | None:
        return self._active.get((namespace, service), lambda: self._api.active_cluster(namespace, service))

    def _fresh_enough(self) -> list[_Listing]:
        self.watch()
        for listing in self._listings:
            age = listing.age()
            reason = listing.error or "no answer yet"
            if age is None:
                raise KubernetesUnavailable(f"the running clusters are not known yet: {reason}")
            if age > self._settings.kubernetes_max_age:
                raise KubernetesUnavailable(f"the listing of running clusters is {age:.0f} s old: {reason}")
        return self._listings
