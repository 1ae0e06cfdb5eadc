"""What depends on who else was there, and on the version of Ray that wrote the events: what no single event says."""

from __future__ import annotations

import msgspec

from workers.entities.ends import TaskEnds
from workers.task_events.records import ErrorInfo, LogInfo

# GCS waits before it fails what a dead worker (1 s) or a finished job (15 s) left open: a death up to 14 s after the job's end wins.
_JOB_END_GRACE_MS = 14_000


def end_from_outside(worker: str, job: str, ends: TaskEnds) -> tuple[int, ErrorInfo] | None:
    """When (ms) and why GCS failed an attempt that no event ended (`mark_tasks_failed_on_*`); None if nothing ended it."""
    death = ends.deaths.get(worker) if worker else None
    job_end = ends.job_ends.get(job)
    if death is not None and (job_end is None or death.end_ms <= job_end // 10**6 + _JOB_END_GRACE_MS):
        message = f"Worker running the task ({worker}) died with exit_type: {death.exit_type} with error_message: {death.exit_detail}"
        return death.end_ms, ErrorInfo("WORKER_DIED", message)
    if job_end is not None:
        message = f"Job finishes ({job}) as driver exits. Marking all non-terminal tasks as failed."
        return job_end // 10**6, ErrorInfo("WORKER_DIED", message)
    return None


def merged_logs(known: LogInfo, later: LogInfo) -> LogInfo:
    """Ray 2.56 prints defaults for what an event does not know: a default never replaces a value."""
    pairs = zip(msgspec.structs.astuple(known), msgspec.structs.astuple(later), strict=True)
    return LogInfo(*[old if new in (None, "", 0) and old is not None else new for old, new in pairs])
