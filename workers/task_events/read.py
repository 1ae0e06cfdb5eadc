"""A task's event to a record. Whatever a field holds, reading it never fails: see `fields.py`.

Mirrors the JSON of `ray.core.generated.events_task_*_pb2`.
"""

from __future__ import annotations

from json.encoder import encode_basestring as quote
from typing import Any

import msgspec

from shared.ray.proto_json import ERROR_TYPES, LANGUAGES, TASK_STATES, TASK_TYPES
from workers.bad_data import BAD_DATA, Skipped
from workers.task_events.fields import (
    TASK_ID_LENGTH,
    Fields,
    boolean,
    enum,
    hex_id,
    integer,
    json_map,
    json_value,
    message,
    messages,
    optional_integer,
    optional_text,
    text,
    time,
)  # fmt: skip
from workers.task_events.records import Definition, ErrorInfo, Lifecycle, LogInfo, Profile, Span, TaskRecord

_UNCOUNTED = Skipped()
PARTS = ("taskLifecycleEvent", "taskProfileEvents", "taskDefinitionEvent", "actorTaskDefinitionEvent")


def read_task_event(event: Fields, skipped: Skipped) -> tuple[str, TaskRecord] | None:
    """The task's id and the record of a decoded event. None, and counted, if it names no task or no attempt."""
    name = next((name for name in PARTS if event.get(name) is not None), "")
    part = message(event, name, skipped) or {}
    number = "attemptNumber" if name == "taskProfileEvents" else "taskAttempt"
    # These cost the event, which is counted once.
    attempt = 0 if part.get(number) is None else optional_integer(part, number, _UNCOUNTED)
    task_id = hex_id(part, "taskId", _UNCOUNTED)
    if len(task_id) != TASK_ID_LENGTH or attempt is None:
        skipped("bad_event", f"a task event without a task: {str(part.get('taskId'))[:100]!r}")
        return None
    record = TaskRecord(time(event, "timestamp", skipped), attempt)
    if name == "taskLifecycleEvent":
        record.lifecycle = _lifecycle(part, record.ns, skipped)
    elif name == "taskProfileEvents":
        record.profile = _profile(message(part, "profileEvents", skipped), skipped)
    else:
        record.definition = _definition(part, name, skipped)
    return task_id, record


def _definition(part: Fields, name: str, skipped: Skipped) -> Definition:
    actor_task = name == "actorTaskDefinitionEvent"
    function = message(part, "taskFunc", skipped) or message(part, "actorFunc", skipped) or {}
    return Definition(
        type="ACTOR_TASK" if actor_task and part.get("taskType") is None else enum(part, "taskType", TASK_TYPES, skipped),
        name=text(part, "taskName", skipped) or text(part, "actorTaskName", skipped),
        function=_call_name(function, skipped),
        job_id=hex_id(part, "jobId", skipped),
        actor_id=hex_id(part, "actorId", skipped),
        parent_task_id=hex_id(part, "parentTaskId", skipped),
        placement_group_id=hex_id(part, "placementGroupId", skipped),
        language=enum(part, "language", LANGUAGES, skipped),
        runtime_env=text(part, "serializedRuntimeEnv", skipped),
        call_site=optional_text(part, "callSite", skipped),
        resources=json_map(part, "requiredResources", float, skipped),
        label_selector=json_map(part, "labelSelector", str, skipped),
        fallback_strategy=json_value(part, "fallbackStrategy", skipped),
    )


def _call_name(function: Fields, skipped: Skipped) -> str:
    """Ray's `_call_string`: the last dotted component of class and function."""
    if (python := message(function, "pythonFunctionDescriptor", skipped)) is not None:
        name = text(python, "functionName", skipped).rsplit(".", 1)[-1]
        class_name = text(python, "className", skipped)
        return f"{class_name.rsplit('.', 1)[-1]}.{name}" if class_name else name
    if (java := message(function, "javaFunctionDescriptor", skipped)) is not None:
        class_name = text(java, "className", skipped)
        return f"{class_name}.{text(java, 'functionName', skipped)}" if class_name else text(java, "functionName", skipped)
    return text(message(function, "cppFunctionDescriptor", skipped) or {}, "functionName", skipped)


def _lifecycle(part: Fields, event_ns: int, skipped: Skipped) -> Lifecycle:
    states = []
    for step in messages(part, "stateTransitions", skipped):
        # A time that can't be read costs only itself: the event was recorded soon after the state was reached.
        ns = time(step, "timestamp", skipped) or event_ns
        states.append((enum(step, "state", TASK_STATES, skipped), ns // 10**6 if ns else None))
    error = message(part, "rayErrorInfo", skipped)
    logs = message(part, "taskLogInfo", skipped)
    return Lifecycle(
        states=states,
        node_id=hex_id(part, "nodeId", skipped),
        worker_id=hex_id(part, "workerId", skipped),
        worker_pid=integer(part, "workerPid", skipped),
        error=None if error is None else _error(error, skipped),
        logs=None if logs is None else _logs(logs, skipped),
        repr_name=text(part, "actorReprName", skipped),
        debugger_paused=boolean(part, "isDebuggerPaused", skipped),
    )


def _error(error: Fields, skipped: Skipped) -> ErrorInfo:
    return ErrorInfo(enum(error, "errorType", ERROR_TYPES, skipped), text(error, "errorMessage", skipped))


def _logs(logs: Fields, skipped: Skipped) -> LogInfo:
    return LogInfo(
        optional_text(logs, "stdoutFile", skipped), optional_text(logs, "stderrFile", skipped),
        optional_integer(logs, "stdoutStart", skipped), optional_integer(logs, "stdoutEnd", skipped),
        optional_integer(logs, "stderrStart", skipped), optional_integer(logs, "stderrEnd", skipped),
    )  # fmt: skip


def _profile(profile: Fields | None, skipped: Skipped) -> Profile | None:
    if profile is None:
        return None
    spans = [
        Span(
            integer(span, "startTime", skipped),
            integer(span, "endTime", skipped),
            _extra(text(span, "extraData", skipped)),
            text(span, "eventName", skipped),
        )
        for span in messages(profile, "events", skipped)
    ]
    component = text(profile, "componentType", skipped), hex_id(profile, "componentId", skipped)
    return Profile(*component, text(profile, "nodeIpAddress", skipped), spans)


def _extra(extra: str) -> str:
    """JSON in a string, on one line; what is no JSON object is shown as text (live fails on it)."""
    if extra in ("", "{}"):
        return "{}"
    try:
        found: Any = msgspec.json.decode(extra)
    except BAD_DATA:
        found = None
    return extra.replace("\n", " ").replace("\r", " ") if isinstance(found, dict) else quote(extra)
