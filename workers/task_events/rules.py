"""What depends on who else was there, and on the version of Ray that wrote the events: what no single event says."""

from __future__ import annotations

import msgspec

from workers.entities.ends import OldRay, TaskEnds
from workers.task_events.records import Attempt, Definition, ErrorInfo, LogInfo

# GCS waits before it fails what a dead worker (1 s) or a finished job (15 s) left open: a death up to 14 s after the job's end wins.
_JOB_END_GRACE_MS = 14_000
_NO_JOB = "f" * 8


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


def known_logs(info: LogInfo) -> LogInfo:
    """Ray up to 2.57 prints all six fields, and defaults for what the event does not know; later ones print what they know."""
    if None in msgspec.structs.astuple(info):
        return info
    out, err, ended = info.stdout_file, info.stderr_file, info.stdout_end or info.stderr_end
    return LogInfo(
        out or None,
        err or None,
        info.stdout_start if out else None,
        info.stdout_end if ended else None,
        info.stderr_start if err else None,
        info.stderr_end if ended else None,
    )


def inferred_logs(attempt: Attempt, definition: Definition, old: OldRay) -> LogInfo | None:
    """File and start of a normal task's lines, where no event says: its worker's file, from the end of the worker's previous task on."""
    logs = attempt.logs
    if definition.type != "NORMAL_TASK" or not attempt.worker_id or not attempt.worker_pid or "RUNNING" not in attempt.states:
        return logs
    if logs is None and old.log_info:
        return None
    logs = logs or LogInfo()
    job = _NO_JOB if attempt.worker_id in old.prestarted else definition.job_id
    file = f"{old.log_directory}worker-{attempt.worker_id}-{job}-{attempt.worker_pid}"
    out, err = old.log_starts.get(f"{attempt.task_id}/{attempt.number}", (-1, -1))
    marker = len(f":task_name:{definition.name}\n".encode())
    return LogInfo(
        logs.stdout_file or f"{file}.out",
        logs.stderr_file or f"{file}.err",
        out + marker if logs.stdout_start is None and out >= 0 else logs.stdout_start,
        logs.stdout_end,
        err + marker if logs.stderr_start is None and err >= 0 else logs.stderr_start,
        logs.stderr_end,
    )


def merged_logs(known: LogInfo, later: LogInfo) -> LogInfo:
    """A default never replaces a value."""
    pairs = zip(msgspec.structs.astuple(known), msgspec.structs.astuple(later), strict=True)
    return LogInfo(*[old if new in (None, "", 0) and old is not None else new for old, new in pairs])
