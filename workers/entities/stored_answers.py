"""What the collector stored of the live dashboard: documents that are whole answers, and the records of `/api/jobs/`.

A stored answer of `/api/jobs/` is the job manager's own record (`JobInfo`), of which events and logs hold only parts; but it may be older
than they are. Collectors store it when told to poll it (KubeRay's `RAY_COLLECTOR_ADDITIONAL_ENDPOINTS`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.ray.redaction import REDACTED
from shared.sessions import Session
from workers.bad_data import BAD_DATA
from workers.entities.cluster_facts import ClusterFacts
from workers.entities.fields import parts, text
from workers.entities.histories import Malformed
from workers.task_events.lines import decode_json, packable

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


ENDPOINT = "/api/jobs"
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
# What never changes in a job's life, and what its end says.
_LASTING = ("entrypoint", "metadata", "runtime_env", "start_time", "driver_agent_http_address", "driver_node_id")
_OUTCOME = ("status", "message", "error_type", "end_time", "driver_exit_code")


def with_stored_jobs(rows: Iterable[dict[str, Any]], endpoints: dict[str, bytes], malformed: Malformed) -> list[dict[str, Any]]:
    """Rows of jobs, completed by what was stored, and the jobs that nothing else tells of."""
    known = {_identity(row): row for row in rows}
    for stored in _stored_jobs(endpoints, malformed):
        identity = _identity(stored)
        if identity:
            known[identity] = _completed(known[identity], stored) if identity in known else stored
    return list(known.values())


def _stored_jobs(endpoints: dict[str, bytes], malformed: Malformed) -> list[dict[str, Any]]:
    found = []
    for path, body in endpoints.items():
        if path.partition("?")[0].rstrip("/") == ENDPOINT:
            try:
                found += parts({"jobs": packable(decode_json(body))}, "jobs")
            except BAD_DATA as exc:
                malformed(path, exc)
    return found


def _identity(row: dict[str, Any]) -> str:
    return text(row, "submission_id") or text(row, "job_id")


def _completed(row: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    names = _LASTING + (_OUTCOME if stored.get("status") in _ENDED else ())
    # An exit code of 0 says something.
    told = {name: stored[name] for name in names if stored.get(name) not in (None, "", {})}
    return row | {name: value for name, value in told.items() if REDACTED not in str(value)}
