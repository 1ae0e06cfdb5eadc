"""The port for questions about running clusters, and what has none to ask: NoLiveClusters.

Adapters: `kubernetes.py` with `directory.py`, and `announced.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from shared.sessions import Kind, SessionRef

DashboardAuth = Literal["none", "token", "kubernetes"]


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """One RayCluster as Kubernetes knows it now. `uid` tells it from an earlier one of the same name."""

    namespace: str
    name: str
    uid: str
    created: datetime
    owner_kind: Kind | None = None
    owner_name: str | None = None
    head_service: str | None = None
    dashboard_port: int = 8265
    suspended: bool = False
    auth: DashboardAuth = "none"
    token_secret: str | None = None
    dashboard: str | None = None
    """Base URL of its dashboard, where no head service leads there."""
    fault_tolerant: bool = False
    """Its GCS keeps its data outside the head, so that a restarted head goes on with the *same* session."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def answering(self) -> bool:
        """May its head be asked? A head that is not up yet has no service, a suspended cluster has no head."""
        return (self.head_service is not None or self.dashboard is not None) and not self.suspended


class LiveDirectory(Protocol):
    """The running clusters. Thread-safe. Create it after any fork."""

    enabled: bool
    """False where nothing tells of running clusters: every stored session is dead then."""

    def watch(self) -> None:
        """Start keeping the listing, unless that was done; the first use does it too. Blocks a few seconds at most, never raises."""

    def clusters(self) -> Sequence[LiveCluster]:
        """All of them, newest first, from the kept listing. Raises KubernetesUnavailable when that is missing or too old."""

    def find(self, ref: SessionRef) -> LiveCluster | None:
        """The cluster that `ref`'s name leads to, whatever its session; of a RayService's, the active one.

        From the kept listing, except that two clusters of one RayService cost one (kept) read of it, which may block.
        Raises KubernetesUnavailable; None means that Kubernetes has no such cluster.
        """

    def get(self, namespace: str, name: str) -> LiveCluster | None:
        """One cluster from the kept listing. Raises KubernetesUnavailable."""

    def fetch(self, namespace: str, name: str) -> LiveCluster | None:
        """One cluster as Kubernetes says at this moment: one call that may block. Raises KubernetesUnavailable."""

    def token(self, cluster: LiveCluster, *, fresh: bool = False) -> str | None:
        """The token of the cluster's dashboard out of its Secret (kept a few seconds unless `fresh`); may block.

        None when the cluster has no shared token. Raises KubernetesUnavailable, also when the Secret or its key is missing.
        """

    def age(self) -> float | None:
        """Seconds since the listing was known to be current: 0 while watching, None before the first listing."""

    def close(self) -> None:
        """Stop watching and release connections."""


class NoLiveClusters:
    """The LiveDirectory of a history server without a cluster."""

    enabled = False

    def watch(self) -> None:
        return None

    def clusters(self) -> Sequence[LiveCluster]:
        return ()

    def find(self, ref: SessionRef) -> LiveCluster | None:  # noqa: ARG002 - the port's signature
        return None

    def get(self, namespace: str, name: str) -> LiveCluster | None:  # noqa: ARG002
        return None

    def fetch(self, namespace: str, name: str) -> LiveCluster | None:  # noqa: ARG002
        return None

    def token(self, cluster: LiveCluster, *, fresh: bool = False) -> str | None:  # noqa: ARG002
        return None

    def age(self) -> float | None:
        return 0.0

    def close(self) -> None:
        return None


def owned_by(cluster: LiveCluster, ref: SessionRef) -> bool:
    """Is it one of the clusters of the RayJob or RayService that `ref` names? By KubeRay's labels, see `rayclusters.py`."""
    return (cluster.namespace, cluster.owner_kind, cluster.owner_name) == (ref.namespace, ref.kind, ref.name)


def choose(candidates: Sequence[LiveCluster], active: str | None) -> LiveCluster | None:
    """One of an owner's clusters: the `active` one of a RayService when that is known.

    Otherwise, of a RayService, the oldest whose head may be asked: the pending cluster of an upgrade is the newer one, and KubeRay
    deletes the older only after the switch. Of a RayJob, the newest: each retry makes a new cluster.
    """
    named = [c for c in candidates if c.name == active]
    if named:
        return named[0]
    by_age = sorted(candidates, key=lambda c: (c.created, c.name), reverse=any(c.owner_kind == "rayjob" for c in candidates))
    return next((c for c in by_age if c.answering), by_age[0] if by_age else None)
