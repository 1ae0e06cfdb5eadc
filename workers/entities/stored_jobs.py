"""A stored answer of `/api/jobs/`, for collectors that were told to poll it (KubeRay's `RAY_COLLECTOR_ADDITIONAL_ENDPOINTS`).

It is the job manager's own record (`JobInfo`), of which events and logs hold only parts; but it may be older than they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.ray.redaction import REDACTED
from workers.bad_data import BAD_DATA
from workers.entities.fields import parts, text
from workers.entities.histories import Malformed
from workers.task_events.lines import decode_json, packable

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
