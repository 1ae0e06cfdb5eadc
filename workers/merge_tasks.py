"""Events of task attempts, in any order and from any file, to one merged `Attempt` each, as Ray's GCS would have merged them.

Mirrors Ray 2.60's `dashboard/modules/task_events/task_event_storage.py` and `ray_event_converter.py`.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter, lt

from shared.ray.ids import to_hex
from shared.ray.times import ms_text
from workers.entities.ends import TaskEnds
from workers.ray_events import Definition, ErrorInfo, Event, Lifecycle, LogInfo, ProfileEvent, ProfileEvents

# Live keeps the last so many profile events of an attempt (MAX_NUM_PROFILE_EVENTS_PER_TASK).
PROFILE_EVENTS_KEPT = 1000
# GCS waits before it fails what a dead worker, or a finished job, left open: 1 s and 15 s; so a worker's death wins if it is not 14 s later.
_JOB_END_GRACE_MS = 14_000

_by_time = attrgetter("timestamp")
_BASE64_TASK_ID = 32


@dataclass(slots=True)
class Attempt:
    """One attempt of one task. Its id is in hex, others are as in the events; `states` maps a state to ms since the epoch, as digits."""

    task_id: str
    number: int
    definition: Definition
    states: dict[str, str] = field(default_factory=dict)
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


def merge(events: Iterable[Event], ends: TaskEnds, hexer: Hexer, rejected: list[str]) -> Iterator[Attempt]:
    """Attempts that have a definition, as live lists them, in no particular order. Events without a task are ignored.

    Attempts with an id or a time that is none are left out; `rejected` gets the reason.
    """
    # By task id alone for first attempts, which nearly all are: a tuple for each event would cost more than the rest of this loop.
    groups: dict[str | tuple[str, int], list[Event]] = {}
    named: list[tuple[str, int, list[Event]]] = []
    for event in events:
        lifecycle = event.taskLifecycleEvent
        if lifecycle is not None:
            task_id, number = lifecycle.taskId, lifecycle.taskAttempt
        elif (profile := event.taskProfileEvents) is not None:
            task_id, number = profile.taskId, profile.attemptNumber
        elif (definition := event.taskDefinitionEvent or event.actorTaskDefinitionEvent) is not None:
            task_id, number = definition.taskId, definition.taskAttempt
        else:
            continue
        key = (task_id, number) if number else task_id
        group = groups.get(key)
        if group is None:
            try:
                group = groups[key] = _new_group(groups, named, task_id, number)
            except ValueError as exc:
                rejected.append(str(exc))
                continue
        group.append(event)
    for task_id, number, group in named:
        try:
            attempt = _merged(task_id, number, group)
            if attempt is not None:
                _fail_if_left_open(attempt, ends, hexer)
        except ValueError as exc:
            rejected.append(str(exc))
        else:
            if attempt is not None:
                yield attempt


def _new_group(
    groups: dict[str | tuple[str, int], list[Event]], named: list[tuple[str, int, list[Event]]], task_id: str, number: int
) -> list[Event]:
    """The events of an attempt, which is named in hex; ids in another spelling than plain base64 lead to the same list."""
    in_hex = to_hex(task_id)
    if len(task_id) != _BASE64_TASK_ID or "-" in task_id or "_" in task_id:
        plain = b2a_base64(bytes.fromhex(in_hex), newline=False).decode()
        key = (plain, number) if number else plain
        if key in groups:
            return groups[key]
        group = groups[key] = list[Event]()
    else:
        group = []
    named.append((in_hex, number, group))
    return group


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
        ends = [int(span.endTime) for span in spans]
        if not all(map(lt, ends, ends[1:])):
            seen = {(span.eventName, span.startTime, span.endTime): span for span in spans}
            spans = sorted(seen.values(), key=lambda span: (int(span.endTime), -int(span.startTime)))
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
