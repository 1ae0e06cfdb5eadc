"""Events of task attempts, in any order and from any file, to one merged `Attempt` each, as Ray's GCS would have merged them.

Mirrors Ray 2.60's `dashboard/modules/task_events/task_event_storage.py` and `ray_event_converter.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

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
    """One attempt of one task. Ids are as in the events; `states` maps a state to ms since the epoch, as digits."""

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


def merge(events: Iterable[Event], ends: TaskEnds, hexer: Hexer) -> Iterator[Attempt]:
    """Attempts that have a definition, as live lists them, in no particular order. Events without a task id are ignored."""
    groups: dict[tuple[str, int], list[Event]] = {}
    for event in events:
        lifecycle = event.taskLifecycleEvent
        if lifecycle is not None:
            key = (lifecycle.taskId, lifecycle.taskAttempt)
        elif (profile := event.taskProfileEvents) is not None:
            key = (profile.taskId, profile.attemptNumber)
        elif (definition := event.taskDefinitionEvent or event.actorTaskDefinitionEvent) is not None:
            key = (definition.taskId, definition.taskAttempt)
        else:
            continue
        task_id = key[0]
        if len(task_id) != _BASE64_TASK_ID or "-" in task_id or "_" in task_id:
            key = (to_hex(task_id), key[1])  # another spelling: one key for both
        group = groups.get(key)
        if group is None:
            groups[key] = [event]
        else:
            group.append(event)
    if any(len(key[0]) != _BASE64_TASK_ID for key in groups):
        _join_spellings(groups)
    for (task_id, number), group in groups.items():
        attempt = _merged(task_id, number, group)
        if attempt is not None:
            _fail_if_left_open(attempt, ends, hexer)
            yield attempt


def _join_spellings(groups: dict[tuple[str, int], list[Event]]) -> None:
    """Ids that came both as base64 and otherwise: one group each."""
    for task_id, number in list(groups):
        spelled = (to_hex(task_id), number)
        if spelled[0] != task_id:
            groups.setdefault(spelled, []).extend(groups.pop((task_id, number)))


def _merged(task_id: str, number: int, events: list[Event]) -> Attempt | None:
    events.sort(key=_by_time)
    definition: Definition | None = None
    for event in events:
        definition = event.taskDefinitionEvent or event.actorTaskDefinitionEvent or definition
    if definition is None:
        return None
    attempt = Attempt(task_id, number, definition)
    spans: list[ProfileEvent] = []
    for event in events:
        if event.taskLifecycleEvent is not None:
            _apply_lifecycle(attempt, event.taskLifecycleEvent)
        elif event.taskProfileEvents is not None and (profile := event.taskProfileEvents.profileEvents) is not None:
            attempt.profile = profile
            spans += profile.events
    if attempt.profile is not None:
        attempt.profile.events = _distinct(spans)
    return attempt


def _apply_lifecycle(attempt: Attempt, event: Lifecycle) -> None:
    """Only what the event sets: a later one that lacks a field must not erase it."""
    states = attempt.states
    for transition in event.stateTransitions:
        states[transition.state] = ms_text(transition.timestamp)
    if event.nodeId:
        attempt.node_id = event.nodeId
    if event.workerId:
        attempt.worker_id = event.workerId
    if event.workerPid:
        attempt.worker_pid = event.workerPid
    if event.rayErrorInfo is not None:
        attempt.error = event.rayErrorInfo
    if event.actorReprName:
        attempt.repr_name = event.actorReprName
    if event.isDebuggerPaused is not None:
        attempt.debugger_paused = event.isDebuggerPaused
    if event.taskLogInfo is not None:
        attempt.logs = event.taskLogInfo if attempt.logs is None else _merged_logs(attempt.logs, event.taskLogInfo)


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
