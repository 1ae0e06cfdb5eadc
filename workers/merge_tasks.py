"""The events of a task, in any order and from any file, to one merged `Attempt` for each attempt, as Ray's GCS would have merged them.

Mirrors Ray 2.60's `dashboard/modules/task_events/task_event_storage.py` and `ray_event_converter.py`.
"""

from __future__ import annotations

from operator import attrgetter, lt

import msgspec

from shared.ray.ids import Hexer
from shared.ray.times import ms_text
from workers.definitions import UNDEFINED, Definitions, Shape
from workers.entities.ends import TaskEnds
from workers.ray_events import NULL, ErrorInfo, LogInfo, ProfileEvent, ProfileEvents, TaskEvent

# Live keeps the last so many profile events of an attempt (MAX_NUM_PROFILE_EVENTS_PER_TASK).
PROFILE_EVENTS_KEPT = 1000
# GCS waits before it fails what a dead worker (1 s) or a finished job (15 s) left open: a death up to 14 s after the job's end wins.
_JOB_END_GRACE_MS = 14_000

_by_time = attrgetter("timestamp")
_by_number = attrgetter("number")


class Attempt(msgspec.Struct, gc=False):
    """One attempt of one task. Its id, its parent's and its actor's are in hex, others are as in the events.

    `states` maps a state to ms since the epoch, as digits. `profile` says whose `spans` are; its own events are not all of them.
    """

    task_id: str
    number: int
    shape: Shape = UNDEFINED
    parent: str = ""
    actor_id: str | None = None
    states: dict[str, str] = {}
    node_id: str = ""
    worker_id: str = ""
    worker_pid: int = 0
    error: ErrorInfo | None = None
    logs: LogInfo | None = None
    repr_name: str = ""
    debugger_paused: bool | None = None
    profile: ProfileEvents | None = None
    spans: list[ProfileEvent] = []


def merge(
    task_id: str, events: list[TaskEvent], definitions: Definitions, ends: TaskEnds, hexer: Hexer, rejected: list[str]
) -> list[Attempt]:
    """The attempts of one task (its id in hex) that have a definition: live lists no others. The latest is first.

    `rejected` gets the reason for every event that is left out. Raises ValueError for a time that is none.
    """
    if len(events) > 1:
        events.sort(key=_by_time)
    attempts: dict[int, Attempt] = {}
    # Only what an event sets counts: a later one that lacks a field must not erase it.
    for event in events:
        lifecycle = event.taskLifecycleEvent
        if lifecycle is not None:
            number = lifecycle.taskAttempt
            attempt = attempts.get(number) or attempts.setdefault(number, Attempt(task_id, number))
            states = attempt.states
            for transition in lifecycle.stateTransitions:
                states[transition.state] = ms_text(transition.timestamp)
            if lifecycle.workerId:
                attempt.worker_id = lifecycle.workerId
            if lifecycle.nodeId:
                attempt.node_id = lifecycle.nodeId
            if lifecycle.workerPid:
                attempt.worker_pid = lifecycle.workerPid
            if lifecycle.rayErrorInfo is not None:
                attempt.error = lifecycle.rayErrorInfo
            if lifecycle.actorReprName:
                attempt.repr_name = lifecycle.actorReprName
            if lifecycle.isDebuggerPaused is not None:
                attempt.debugger_paused = lifecycle.isDebuggerPaused
            if lifecycle.taskLogInfo is not None:
                attempt.logs = lifecycle.taskLogInfo if attempt.logs is None else _merged_logs(attempt.logs, lifecycle.taskLogInfo)
        elif (profile := event.taskProfileEvents) is not None:
            number = profile.attemptNumber
            attempt = attempts.get(number) or attempts.setdefault(number, Attempt(task_id, number))
            if profile.profileEvents is not None:
                attempt.profile = profile.profileEvents
                attempt.spans += profile.profileEvents.events
        else:
            text = bytes(event.taskDefinitionEvent)
            if text == NULL:
                text = bytes(event.actorTaskDefinitionEvent)
            try:
                shape, parent, actor_id = definitions.find(text)
            except (msgspec.DecodeError, ValueError) as exc:
                # Other attempts of the task may be well defined.
                rejected.append(f"{exc}: {text[:200].decode(errors='replace')}")
                continue
            attempt = attempts.get(shape.attempt) or attempts.setdefault(shape.attempt, Attempt(task_id, shape.attempt))
            attempt.shape, attempt.parent, attempt.actor_id = shape, parent, actor_id
    found = [attempt for attempt in attempts.values() if attempt.shape is not UNDEFINED]
    for attempt in found:
        if len(attempt.spans) > 1:
            attempt.spans = _distinct(attempt.spans)
        if "FINISHED" not in attempt.states and "FAILED" not in attempt.states:
            _fail_if_left_open(attempt, ends, hexer)
    # Live gives the latest attempt of a task first.
    return found if len(found) == 1 else sorted(found, key=_by_number, reverse=True)


_LOG_FIELDS = ("stdoutFile", "stderrFile", "stdoutStart", "stdoutEnd", "stderrStart", "stderrEnd")
_DEFAULTS = (None, "", "0", 0)


def _merged_logs(known: LogInfo, later: LogInfo) -> LogInfo:
    """Ray 2.56 prints defaults for what an event does not know: a default never replaces a value."""
    merged = LogInfo()
    for name in _LOG_FIELDS:
        old, new = getattr(known, name), getattr(later, name)
        setattr(merged, name, old if new is None or (new in _DEFAULTS and old is not None) else new)
    return merged


def _distinct(spans: list[ProfileEvent]) -> list[ProfileEvent]:
    """Repeated events once, in the order in which they were recorded (their end), the last ones if there are too many."""
    ends = [span.endTime for span in spans]
    if not all(map(lt, ends, ends[1:])):
        seen = {(span.eventName, span.startTime, span.endTime): span for span in spans}
        spans = sorted(seen.values(), key=lambda span: (span.endTime, -span.startTime))
    return spans[-PROFILE_EVENTS_KEPT:]


def _fail_if_left_open(attempt: Attempt, ends: TaskEnds, hexer: Hexer) -> None:
    """What GCS does when a worker dies or a job ends: attempts that did not end are FAILED (`mark_tasks_failed_on_*`)."""
    states = attempt.states
    worker = hexer(attempt.worker_id)
    job = attempt.shape.job_id
    death = ends.deaths.get(worker) if worker else None
    job_end_ns = ends.job_ends.get(job)
    if death is not None and (job_end_ns is None or death.end_ms <= job_end_ns // 10**6 + _JOB_END_GRACE_MS):
        states["FAILED"] = str(death.end_ms)
        message = f"Worker running the task ({worker}) died with exit_type: {death.exit_type} with error_message: {death.exit_detail}"
        attempt.error = ErrorInfo("WORKER_DIED", message)
    elif job_end_ns is not None:
        states["FAILED"] = str(job_end_ns // 10**6)
        message = f"Job finishes ({job}) as driver exits. Marking all non-terminal tasks as failed."
        attempt.error = ErrorInfo("WORKER_DIED", message)
