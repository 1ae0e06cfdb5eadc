"""The events of a task, in any order and from any file, to one merged `Attempt` for each attempt, as Ray's GCS would have merged them.

Mirrors Ray 2.60's `dashboard/modules/task_events/task_event_storage.py` and `ray_event_converter.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter, lt

import msgspec

from shared.ray.ids import to_hex
from shared.ray.times import ms_text
from workers.entities.ends import TaskEnds
from workers.ray_events import Definition, ErrorInfo, Event, LogInfo, ProfileEvent, ProfileEvents

# Live keeps the last so many profile events of an attempt (MAX_NUM_PROFILE_EVENTS_PER_TASK).
PROFILE_EVENTS_KEPT = 1000
# GCS waits before it fails what a dead worker (1 s) or a finished job (15 s) left open: a death up to 14 s after the job's end wins.
_JOB_END_GRACE_MS = 14_000

_by_time = attrgetter("timestamp")


class Attempt(msgspec.Struct, gc=False):
    """One attempt of one task. Its id is in hex, others are as in the events; `states` maps a state to ms since the epoch, as digits."""

    task_id: str
    number: int
    definition: Definition
    states: dict[str, str] = {}
    node_id: str = ""
    worker_id: str = ""
    worker_pid: int = 0
    error: ErrorInfo | None = None
    logs: LogInfo | None = None
    repr_name: str = ""
    debugger_paused: bool | None = None
    profile: ProfileEvents | None = None


class Hexer:
    """Ids to hex, each once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {"": ""}

    def __call__(self, text: str) -> str:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = to_hex(text)
        return known


def merge(task_id: str, events: Iterable[Event], ends: TaskEnds, hexer: Hexer, rejected: list[str]) -> list[Attempt]:
    """The attempts of one task (its id in hex) that have a definition: live lists no others.

    `rejected` gets the reason for every event that is left out. Raises ValueError for a time that is none.
    """
    by_number: dict[int, list[Event]] = {}
    for event in events:
        lifecycle = event.taskLifecycleEvent
        if lifecycle is not None:
            number = lifecycle.taskAttempt
        elif (profile := event.taskProfileEvents) is not None:
            number = profile.attemptNumber
        elif (definition := event.taskDefinitionEvent or event.actorTaskDefinitionEvent) is not None:
            number = definition.taskAttempt
        else:
            rejected.append(f"{event.eventType or 'an event without a type'} is no task event")
            continue
        known = by_number.get(number)
        if known is None:
            by_number[number] = [event]
        else:
            known.append(event)
    attempts = [attempt for number, of_one in by_number.items() if (attempt := _merged(task_id, number, of_one)) is not None]
    for attempt in attempts:
        _fail_if_left_open(attempt, ends, hexer)
    return attempts


def _merged(task_id: str, number: int, events: list[Event]) -> Attempt | None:
    """Events in the order of their time. Only what an event sets counts: a later one that lacks a field must not erase it."""
    events.sort(key=_by_time)
    definition: Definition | None = None
    for event in events:
        definition = event.taskDefinitionEvent or event.actorTaskDefinitionEvent or definition
    if definition is None:
        return None
    attempt = Attempt(task_id, number, definition)
    states = attempt.states
    spans: list[ProfileEvent] = []
    for event in events:
        lifecycle = event.taskLifecycleEvent
        if lifecycle is not None:
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
        elif event.taskProfileEvents is not None and (profile := event.taskProfileEvents.profileEvents) is not None:
            attempt.profile = profile
            spans += profile.events
    if attempt.profile is not None:
        attempt.profile.events = _distinct(spans)
    return attempt


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
    if len(spans) > 1:
        ends = [span.endTime for span in spans]
        if not all(map(lt, ends, ends[1:])):
            seen = {(span.eventName, span.startTime, span.endTime): span for span in spans}
            spans = sorted(seen.values(), key=lambda span: (span.endTime, -span.startTime))
    return spans[-PROFILE_EVENTS_KEPT:]


def _fail_if_left_open(attempt: Attempt, ends: TaskEnds, hexer: Hexer) -> None:
    """What GCS does when a worker dies or a job ends: attempts that did not end are FAILED (`mark_tasks_failed_on_*`)."""
    states = attempt.states
    if "FINISHED" in states or "FAILED" in states:
        return
    worker = hexer(attempt.worker_id)
    job = hexer(attempt.definition.jobId)
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
