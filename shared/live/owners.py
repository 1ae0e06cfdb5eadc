"""Which cluster a RayJob or RayService means, when it owns several (KubeRay's labels, see `rayclusters.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from shared.live.port import LiveCluster
from shared.sessions import SessionRef


def owned_by(cluster: LiveCluster, ref: SessionRef) -> bool:
    """Is it one of the clusters of the RayJob or RayService that `ref` names?"""
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
