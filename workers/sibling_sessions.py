"""Other sessions of the same cluster: what one collector life did not store, another may have (KubeRay polls some answers once)."""

from __future__ import annotations

from contextlib import suppress

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.layout import METADATA_PREFIX, data_prefixes, session_of_marker
from shared.sessions import Session
from shared.storage.port import Storage

METADATA = "/api/v0/cluster_metadata"
_STORED_METADATA = "fetched_endpoints/restful__api__v0__cluster_metadata"
_TRIED = 5


def sibling_metadata(storage: Storage, session: Session) -> bytes | None:
    """The `cluster_metadata` of the session nearest in time that has one; None if there is none, or none could be read."""
    try:
        for other in _by_distance(storage, session)[:_TRIED]:
            for prefix in data_prefixes(other):
                with suppress(ObjectNotFound):
                    return storage.read(prefix + _STORED_METADATA)
    except StorageUnavailable:
        pass  # it only completes an answer
    return None


def _by_distance(storage: Storage, session: Session) -> list[Session]:
    owner = f"{session.namespace}_{session.owner_name}_" if session.owner_name else f"{session.namespace}_"
    markers = storage.list(f"{METADATA_PREFIX}{session.owner_kind or 'raycluster'}/{owner}{session.cluster}/")
    others = [found for marker in markers if (found := session_of_marker(marker.key)) and found != session]
    return sorted(others, key=lambda other: abs(other.created - session.created))
