"""Documents that are whole answers: what the collector stored of the live dashboard, and what can be rebuilt of the rest."""

from __future__ import annotations

from typing import Any

from shared.sessions import Session
from workers.bad_data import BAD_DATA
from workers.entities.cluster_facts import ClusterFacts
from workers.entities.histories import Malformed
from workers.task_events.lines import decode_json

VERSION, METADATA, TIMEZONE = "version", "cluster_metadata", "timezone"
# The version of the job submission protocol (Ray: `dashboard/modules/version.CURRENT_VERSION`), the same since Ray 2.3.
_PROTOCOL = "4"


def stored(path: str) -> str:
    """The document with the stored answer of a dashboard path, query string included, without a `/` at its end."""
    return f"stored{path.rstrip('/')}"


def answer_documents(endpoints: dict[str, bytes], facts: ClusterFacts, session: Session, malformed: Malformed) -> dict[str, Any]:
    documents: dict[str, Any] = {}
    for path, body in endpoints.items():
        try:
            decode_json(body)
            documents[stored(path)] = body
        except BAD_DATA as exc:
            # It may have been cut off, or be an error page.
            malformed(path, exc)
    documents[VERSION] = {
        "version": _PROTOCOL,
        "ray_version": facts.ray_version,
        "ray_commit": facts.ray_commit,
        "session_name": session.session,
    }
    documents[METADATA] = facts.metadata
    documents[TIMEZONE] = facts.timezone
    return documents
