"""Documents that are whole answers: what the collector stored of the live dashboard, and what can be rebuilt of the rest."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.sessions import Session
from workers.entities.cluster_facts import ClusterFacts

VERSION, METADATA, TIMEZONE = "version", "cluster_metadata", "timezone"
_validate = msgspec.json.Decoder(msgspec.Raw).decode
# The version of the job submission protocol (Ray: `dashboard/modules/version.CURRENT_VERSION`), the same since Ray 2.3.
_PROTOCOL = "4"


def stored(path: str) -> str:
    """The document with the stored answer of a dashboard path, query string included, without a `/` at its end."""
    return f"stored{path.rstrip('/')}"


def answer_documents(endpoints: dict[str, bytes], facts: ClusterFacts, session: Session) -> dict[str, Any]:
    documents: dict[str, Any] = {stored(path): body for path, body in endpoints.items() if _is_json(body)}
    documents[VERSION] = {
        "version": _PROTOCOL,
        "ray_version": facts.ray_version,
        "ray_commit": facts.ray_commit,
        "session_name": session.session,
    }
    documents[METADATA] = facts.metadata
    documents[TIMEZONE] = facts.timezone
    return documents


def _is_json(body: bytes) -> bool:
    """A snapshot may have been cut off, or be an error page."""
    try:
        _validate(body)
    except msgspec.DecodeError:
        return False
    return True
