"""The LiveDirectory of a Kubernetes cluster: one listing, kept fresh by one watch (per watched namespace) in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from shared.errors import KubernetesUnavailable
from shared.live.kubernetes import KubernetesApi
from shared.live.kubernetes_cache import KubernetesCache
from shared.live.listing import Listing
from shared.live.port import LiveCluster, choose, owned_by
from shared.sessions import SessionRef
from shared.settings import LiveSettings


class KubernetesDirectory:
    """Running clusters as Kubernetes has them. The first use of the listing starts its watch; `fetch` needs none."""

    enabled = True

    def __init__(self, api: KubernetesApi, settings: LiveSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._start = threading.Lock()
        self._listings: list[Listing] = []
        self._first_wait = threading.Event()
        self._tokens: KubernetesCache[tuple[str, str], str] = KubernetesCache(
            settings.token_age, usable=settings.kubernetes_max_age, clock=clock
        )
        self._active: KubernetesCache[tuple[str, str], str | None] = KubernetesCache(
            settings.live_check_age, usable=settings.kubernetes_max_age, clock=clock
        )

    def watch(self) -> None:
        """List and watch from now on; waits for the first listing, at most as long as one call may take."""
        if self._first_wait.is_set():
            return
        with self._start:
            if not self._listings:
                names = self._settings.namespaces or ("",)
                self._listings = [Listing(self._api, name, self._settings.kubernetes_resync, clock=self._clock) for name in names]
        deadline = self._clock() + self._settings.kubernetes_timeout
        for listing in self._listings:
            listing.wait_for_first(deadline)
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
        if not self._runs_clusters(namespace):
            return None
        key = f"{namespace}/{name}"
        return next((c for c in (listing.get(key) for listing in self._fresh_enough()) if c), None)

    def fetch(self, namespace: str, name: str) -> LiveCluster | None:
        return self._api.read_cluster(namespace, name) if self._runs_clusters(namespace) else None

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

    def _runs_clusters(self, namespace: str) -> bool:
        """Where namespaces are configured, no cluster runs anywhere else."""
        return not self._settings.namespaces or namespace in self._settings.namespaces

    def _active_cluster(self, namespace: str, service: str) -> str | None:
        return self._active.get((namespace, service), lambda: self._api.active_cluster(namespace, service))

    def _fresh_enough(self) -> list[Listing]:
        self.watch()
        for listing in self._listings:
            age = listing.age()
            reason = listing.error or "no answer yet"
            if age is None:
                raise KubernetesUnavailable(f"the running clusters are not known yet: {reason}")
            if age > self._settings.kubernetes_max_age:
                raise KubernetesUnavailable(f"the listing of running clusters is {age:.0f} s old: {reason}")
        return self._listings
