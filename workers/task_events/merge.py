"""The records of a task, in any order and from any file, to one `Attempt` for each attempt, as Ray's GCS would have merged them.

Mirrors Ray 2.60's `dashboard/modules/task_events/task_event_storage.py` and `ray_event_converter.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from workers.entities.ends import TaskEnds
from workers.task_events.records import Attempt, Lifecycle, Span, decode_record
from workers.task_events.rules import end_from_outside, inferred_logs, known_logs, merged_logs

# Live keeps the last so many profile events of an attempt (MAX_NUM_PROFILE_EVENTS_PER_TASK).
PROFILE_EVENTS_KEPT = 1000
# The rank of a node that an attempt's own worker named.
_OWN = 2


def merge(task_id: str, encoded: Iterable[bytes], ends: TaskEnds) -> list[Attempt]:
    """The attempts of one task that have a definition: live lists no others. The latest is first.

    `encoded` records may be repeated. They are merged in the order of their times, of equal ones in that of their bytes.
    """
    attempts: dict[int, Attempt] = {}
    for record in sorted(map(decode_record, sorted(set(encoded))), key=attrgetter("ns")):
        attempt = attempts.get(record.attempt) or attempts.setdefault(record.attempt, Attempt(task_id, record.attempt))
        if record.lifecycle is not None:
            _live(attempt, record.lifecycle, senders_node=ends.old is not None and ends.old.senders_node)
        elif record.profile is not None:
            attempt.profile = record.profile
            attempt.spans += record.profile.spans
        elif record.definition is not None:
            attempt.definition = record.definition
    found = [attempt for attempt in attempts.values() if attempt.definition is not None]
    for attempt in found:
        attempt.spans = _distinct(attempt.spans)
        _end(attempt, ends)
        if ends.old is not None and attempt.definition is not None:
            if attempt.node_rank < _OWN:
                attempt.node_id = ends.old.worker_nodes.get(attempt.worker_id, attempt.node_id)
            attempt.logs = inferred_logs(attempt, attempt.definition, ends.old)
    return sorted(found, key=attrgetter("number"), reverse=True)


def _live(attempt: Attempt, lifecycle: Lifecycle, *, senders_node: bool) -> None:
    """Only what an event sets counts: a later one that lacks a field must not erase it.

    Where an attempt ran its worker's own events know best, then those that name its worker (Ray 2.54: the others name their sender's node).
    """
    for state, ms in lifecycle.states:
        if ms is not None or state not in attempt.states:
            attempt.states[state] = ms
    own = lifecycle.worker_pid or any(state == "RUNNING" for state, _ in lifecycle.states)
    rank = _OWN if own else 1 if lifecycle.worker_id else 0
    if lifecycle.node_id and rank >= attempt.node_rank and (rank or not senders_node):
        attempt.node_id, attempt.node_rank = lifecycle.node_id, rank
    attempt.worker_id = lifecycle.worker_id or attempt.worker_id
    attempt.worker_pid = lifecycle.worker_pid or attempt.worker_pid
    attempt.error = lifecycle.error or attempt.error
    attempt.repr_name = lifecycle.repr_name or attempt.repr_name
    if lifecycle.debugger_paused is not None:
        attempt.debugger_paused = lifecycle.debugger_paused
    if lifecycle.logs is not None:
        logs = known_logs(lifecycle.logs)
        attempt.logs = merged_logs(attempt.logs, logs) if attempt.logs else logs


def _distinct(spans: list[Span]) -> list[Span]:
    """Repeated spans once, in the order in which they were recorded (their end), the last ones if there are too many."""
    once = {(span.name, span.start, span.end): span for span in spans}
    return sorted(once.values(), key=lambda span: (span.end, -span.start))[-PROFILE_EVENTS_KEPT:]


def _end(attempt: Attempt, ends: TaskEnds) -> None:
    if attempt.definition is None or "FINISHED" in attempt.states or "FAILED" in attempt.states:
        return
    if (end := end_from_outside(attempt.worker_id, attempt.definition.job_id, ends)) is not None:
        attempt.states["FAILED"], attempt.error = end
