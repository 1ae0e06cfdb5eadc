"""Live clusters by what their collectors announce in the bucket: for Ray without Kubernetes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import urlsplit

from shared.collector_documents import ANNOUNCED_PREFIX, Announcement, announcement_key, decode_announcement
from shared.errors import InvalidReference, KubernetesUnavailable, StorageUnavailable
from shared.live.port import LiveCluster, choose, owned_by
from shared.sessions import Kind, SessionRef, created_at
from shared.storage.port import Storage

_KEPT = 2.0
# Clocks differ, but a heartbeat from this far ahead would keep its cluster alive for as long after its end.
_AHEAD = 3600.0


class AnnouncedClusters:
    """The LiveDirectory of clusters whose heartbeat is at most `max_age` seconds old; an older one is a head that was killed."""

    enabled = True

    def __init__(self, storage: Storage, max_age: float, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._listing: tuple[float, Sequence[LiveCluster]] | None = None

    def watch(self) -> None:
        """There is nothing to watch: the bucket is asked when somebody asks."""

    def clusters(self) -> Sequence[LiveCluster]:
        with self._lock:
            now = self._clock()
            if self._listing is None or not 0 <= now - self._listing[0] < _KEPT:
                self._listing = now, self._announced(now)
            return self._listing[1]

    def find(self, ref: SessionRef) -> LiveCluster | None:
        if ref.kind == "raycluster":
            return self.get(ref.namespace, ref.name)
        return choose([cluster for cluster in self.clusters() if owned_by(cluster, ref)], None)

    def get(self, namespace: str, name: str) -> LiveCluster | None:
        return next((cluster for cluster in self.clusters() if (cluster.namespace, cluster.name) == (namespace, name)), None)

    def fetch(self, namespace: str, name: str) -> LiveCluster | None:
        with self._lock:
            self._listing = None
        return self.get(namespace, name)

    def token(self, cluster: LiveCluster, *, fresh: bool = False) -> str | None:  # noqa: ARG002 - the port's signature
        return None

    def age(self) -> float | None:
        return 0.0

    def close(self) -> None:
        return None

    def _announced(self, now: float) -> Sequence[LiveCluster]:
        found = []
        try:
            for info, content in self._storage.read_many(self._storage.list(ANNOUNCED_PREFIX)):
                if isinstance(content, StorageUnavailable):
                    raise content
                cluster = _live_cluster(info.key, content, now - self._max_age, now + _AHEAD) if isinstance(content, bytes) else None
                if cluster is not None:
                    found.append(cluster)
        except StorageUnavailable as exc:
            raise KubernetesUnavailable(f"which clusters are announced to run is not known: {exc}") from exc
        return sorted(found, key=lambda cluster: (cluster.created, cluster.key), reverse=True)


def _live_cluster(key: str, content: bytes, not_before: float, not_after: float) -> LiveCluster | None:
    """None for one that is too old or ahead, or that is none: anybody who can write the bucket can write here."""
    try:
        said = decode_announcement(content)
        SessionRef.of(said.namespace, "raycluster", said.cluster)
        created = created_at(said.session)
        address = urlsplit(said.dashboard)
        too_old_or_ahead = not not_before <= said.heartbeat <= not_after
        if too_old_or_ahead or key != announcement_key(said.namespace, said.cluster) or not _is_address(said.dashboard):
            return None
    except (ValueError, InvalidReference):
        return None
    return LiveCluster(
        namespace=said.namespace,
        name=said.cluster,
        uid=said.session,
        created=created,
        owner_kind=_owner_kind(said),
        owner_name=said.owner_name,
        dashboard=f"{address.scheme}://{address.netloc}",
    )


def _is_address(url: str) -> bool:
    parts = urlsplit(url)
    plain = "@" not in parts.netloc and parts.path in ("", "/") and not parts.query and not parts.fragment
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def _owner_kind(said: Announcement) -> Kind | None:
    return cast("Kind", said.owner_kind) if said.owner_kind in ("rayjob", "rayservice") and said.owner_name else None
