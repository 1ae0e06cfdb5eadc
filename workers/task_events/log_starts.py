"""Where the lines of tasks begin in their workers' logs, for Ray before 2.58: each task's after those of the worker's previous one.

A worker's tasks lie in several ranges, so this looks at all of a session's records before ranges are merged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from workers.entities.ends import TaskEnds
from workers.task_events.records import Lifecycle, decode_record, decode_records
from workers.task_events.rules import known_logs

# `:job_id:{8 digits}` and a newline: what a worker writes first.
_FIRST = len(":job_id:01000000\n")
UNKNOWN = -1
# Beyond that many attempts rows do without: the answer is held at once. A task's log page finds its lines all the same.
_MOST_ATTEMPTS = 200_000


@dataclass(slots=True)
class _Run:
    """One attempt on a worker: when it began (ms), and where its lines end."""

    key: str
    worker: str = ""
    began: int = 0
    out_end: int = UNKNOWN
    err_end: int = UNKNOWN


def with_log_starts(ends: TaskEnds, chunks: Iterable[bytes]) -> TaskEnds:
    """`ends` as the merge of these chunks needs them."""
    return ends if ends.old is None else replace(ends, old=replace(ends.old, log_starts=log_starts(chunks)))


def log_starts(chunks: Iterable[bytes]) -> dict[str, tuple[int, int]]:
    """`chunks` are what `Splitter.take` gave; the answer is `OldRay.log_starts`."""
    runs: dict[str, _Run] = {}
    for chunk in chunks:
        for task_id, encoded in decode_records(chunk) if chunk else ():
            record = decode_record(encoded)
            if record.lifecycle is not None:
                key = f"{task_id}/{record.attempt}"
                _add(runs.get(key) or runs.setdefault(key, _Run(key)), record.lifecycle)
        if len(runs) > _MOST_ATTEMPTS:
            return {}
    by_worker: dict[str, list[_Run]] = {}
    for run in runs.values():
        if run.worker and run.began:
            by_worker.setdefault(run.worker, []).append(run)
    starts: dict[str, tuple[int, int]] = {}
    for of_worker in by_worker.values():
        former = (_FIRST, _FIRST)
        for run in sorted(of_worker, key=lambda run: run.began):
            starts[run.key] = former
            former = (run.out_end, run.err_end)
    return starts


def _add(run: _Run, lifecycle: Lifecycle) -> None:
    run.worker = lifecycle.worker_id or run.worker
    run.began = next((ms for state, ms in lifecycle.states if state == "RUNNING" and ms), run.began)
    if lifecycle.logs is not None:
        logs = known_logs(lifecycle.logs)
        run.out_end = run.out_end if logs.stdout_end is None else logs.stdout_end
        run.err_end = run.err_end if logs.stderr_end is None else logs.stderr_end
