"""Recorded task attempts as templates: every event of one real attempt, with all that differs between tasks replaced by names.

Synthetic tasks are these templates filled in, so their events have the shapes and sizes of real ones.
"""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.recorded_events import ATTEMPT, AttemptKey, Event, Recorded, go_json, nanoseconds

_TIMESTAMP = re.compile(rb'"timestamp":"([^"]+)"')
_SPAN_TIME = re.compile(rb'("(?:startTime|endTime)":")(\d+)"')
_EMITTER, _EXECUTOR = "@@EMITTER@@", "@@EXECUTOR@@"


@dataclass(frozen=True, slots=True)
class Template:
    """One event as text for `%` with a dictionary. `times`: (name, ns after the attempt's begin, whether written as a number)."""

    kind: str
    by_executor: bool
    text: bytes
    times: tuple[tuple[bytes, int, bool], ...]


@dataclass(frozen=True, slots=True)
class AttemptTemplate:
    """One attempt. `logs`: its events say where it logged."""

    templates: tuple[Template, ...]
    task_type: str
    logs: bool


@dataclass(frozen=True, slots=True)
class Archetype:
    """A task as a whole: its attempts in order, and the state that the last one ends in (the others fail)."""

    attempts: tuple[AttemptTemplate, ...]
    state: str


@dataclass(frozen=True, slots=True)
class _Facts:
    definition: Event
    function: str
    class_name: str
    task_type: str
    states: dict[str, str]
    error: str | None
    profiled: bool
    logs: bool

    @property
    def finished(self) -> bool:
        return "FINISHED" in self.states and "RUNNING" in self.states and self.profiled and not self.error


def archetypes(recorded: Recorded) -> dict[str, Archetype]:
    """One archetype for each way in which recorded tasks went. Raises LookupError when the recording has none."""

    def archetype(state: str, *wanted: Callable[[_Facts, AttemptKey], bool]) -> Archetype:
        found = [_find(recorded, matches) for matches in wanted]
        return Archetype(tuple(_attempt(events, number) for number, events in enumerate(found)), state)

    normal, ended = "NORMAL_TASK", {"FINISHED", "FAILED"}
    return {
        "ok": archetype("FINISHED", lambda f, _: f.task_type == normal and f.function == "square" and f.finished and f.logs),
        "nested": archetype("FINISHED", lambda f, _: f.task_type == normal and f.function == "leaf" and f.finished and f.logs),
        "retry": archetype(
            "FINISHED",
            lambda f, key: f.function == "flaky" and key[1] == 0 and bool(f.error) and f.profiled,
            lambda f, key: f.function == "flaky" and key[1] == 2 and "FINISHED" in f.states and f.profiled,
        ),
        "failed": archetype("FAILED", lambda f, _: f.function == "fails" and f.error == "TASK_EXECUTION_EXCEPTION" and f.profiled),
        "cancelled": archetype("FAILED", lambda f, _: f.error == "TASK_CANCELLED" and f.task_type == normal),
        "running": archetype("RUNNING", lambda f, _: f.function == "spin" and "RUNNING" in f.states and not ended & f.states.keys()),
        "pending": archetype("PENDING_NODE_ASSIGNMENT", lambda f, _: f.function == "never" and "FAILED" not in f.states),
        "actor_task": archetype(
            "FINISHED",
            lambda f, _: f.task_type == "ACTOR_TASK" and f.class_name == "Counter" and f.function == "increment"
            and "FINISHED" in f.states and f.profiled and not f.error,
        ),
        "actor_creation": archetype(
            "FINISHED",
            lambda f, _: f.task_type == "ACTOR_CREATION_TASK" and f.class_name == "Counter"
            and "FINISHED" in f.states and f.profiled and not f.error,
        ),
    }  # fmt: skip


def _find(recorded: Recorded, matches: Callable[[_Facts, AttemptKey], bool]) -> list[Event]:
    for session in sorted(recorded.attempts):
        for key in sorted(recorded.attempts[session]):
            events = recorded.attempts[session][key]
            facts = _facts(events)
            if facts and "PENDING_ARGS_AVAIL" in facts.states and matches(facts, key):
                return events
    raise LookupError("no recorded attempt matches")


def _facts(events: list[Event]) -> _Facts | None:
    definition = next((d for e in events if (d := e.get("taskDefinitionEvent") or e.get("actorTaskDefinitionEvent"))), None)
    if definition is None:
        return None
    function = (definition.get("taskFunc") or definition.get("actorFunc") or {}).get("pythonFunctionDescriptor") or {}
    states: dict[str, str] = {}
    error = None
    for event in events:
        lifecycle = event.get("taskLifecycleEvent") or {}
        states |= {reached["state"]: reached["timestamp"] for reached in lifecycle.get("stateTransitions", ())}
        error = (lifecycle.get("rayErrorInfo") or {}).get("errorType", error)
    return _Facts(
        definition,
        function.get("functionName", ""),
        function.get("className", ""),
        "ACTOR_TASK" if "actorFunc" in definition else definition["taskType"],
        states,
        error,
        any("taskProfileEvents" in event for event in events),
        any("taskLogInfo" in event.get("taskLifecycleEvent", {}) for event in events),
    )


def _attempt(events: list[Event], number: int) -> AttemptTemplate:
    """`number`: the attempt that it becomes, whichever it was."""
    facts = _facts(events)
    assert facts is not None
    definition, begin = facts.definition, nanoseconds(facts.states["PENDING_ARGS_AVAIL"])
    worker = _last(events, "workerId")
    executor = _last(events, "nodeId")
    owner = next(e["nodeId"] for e in events if "taskDefinitionEvent" in e or "actorTaskDefinitionEvent" in e)
    names = {
        definition["taskId"]: b"task",
        _hex(definition["taskId"]): b"task_hex",
        definition["jobId"]: b"job",
        events[0]["sessionName"]: b"session",
        worker: b"worker",
        _hex(worker): b"worker_hex",
        definition["parentTaskId"]: b"parent",
    }
    if facts.task_type == "ACTOR_TASK":
        names[definition["actorId"]] = b"actor"
    templates = []
    for event in events:
        lifecycle = event.get("taskLifecycleEvent")
        by_executor = "taskProfileEvents" in event or (event["nodeId"] == executor != owner) or _is_of_executor(lifecycle)
        numbered = {part: value | {ATTEMPT[part]: number} if part in ATTEMPT else value for part, value in event.items()}
        templates.append(_template(numbered, begin, names, facts.function, by_executor=by_executor))
    return AttemptTemplate(tuple(templates), facts.task_type, facts.logs)


def _is_of_executor(lifecycle: dict[str, Any] | None) -> bool:
    if lifecycle is None:
        return False
    states = [reached["state"] for reached in lifecycle["stateTransitions"]]
    return not states or "RUNNING" in states


def _last(events: list[Event], name: str) -> str:
    return next((value for e in reversed(events) if (value := (e.get("taskLifecycleEvent") or {}).get(name))), "")


def _hex(identity: str) -> str:
    return base64.b64decode(identity).hex()


def _template(event: Event, begin: int, names: dict[str, bytes], function: str, *, by_executor: bool) -> Template:
    event = copy.deepcopy(event)
    event["nodeId"] = _EMITTER
    if (event.get("taskLifecycleEvent") or {}).get("nodeId"):
        event["taskLifecycleEvent"]["nodeId"] = _EXECUTOR
    text = go_json(event).replace(b"%", b"%%")
    text = re.sub(rb'"eventId":"[^"]*"', b'"eventId":"%(event)b"', text)
    times: list[tuple[bytes, int, bool]] = []

    def named(ns: int, *, number: bool) -> bytes:
        times.append((b"time%d" % len(times), ns - begin, number))
        return b"%(" + times[-1][0] + b")b"

    text = _TIMESTAMP.sub(lambda m: b'"timestamp":"' + named(nanoseconds(m[1].decode()), number=False) + b'"', text)
    text = _SPAN_TIME.sub(lambda m: m[1] + named(int(m[2]), number=True) + b'"', text)
    for name in (b"stdoutStart", b"stdoutEnd", b"stderrStart", b"stderrEnd"):
        text = re.sub(b'"%b":"\\d+"' % name, b'"%b":"%%(%b)b"' % (name, name), text)
    text = re.sub(rb'"(stdoutFile|stderrFile)":"[^"]*"', rb'"\1":"%(\1)b"', text)
    text = re.sub(rb'"workerPid":[1-9]\d*', b'"workerPid":%(pid)b', text)
    text = re.sub(rb'"nodeIpAddress":"[^"]*"', b'"nodeIpAddress":"%%(%b)b"' % (b"ip" if by_executor else b"owner_ip"), text)
    for value, name in sorted(names.items(), key=lambda item: -len(item[0])):
        if value:
            text = text.replace(value.encode().replace(b"%", b"%%"), b"%(" + name + b")b")
    if function:
        text = _with_function(text, function.encode())
    text = text.replace(_EMITTER.encode(), b"%(node)b" if by_executor else b"%(owner_node)b").replace(_EXECUTOR.encode(), b"%(node)b")
    return Template(event["eventType"], by_executor, text + b"\n", tuple(times))


def _with_function(text: bytes, function: bytes) -> bytes:
    """The function's name stands in the descriptor, in names made from it, and in what it logged or raised."""
    text = text.replace(b'"functionName":"%b"' % function, b'"functionName":"%(function)b"')
    text = re.sub(rb'"(taskName|actorTaskName)":"([^"]*?)%b"' % re.escape(function), rb'"\1":"\2%(function)b"', text)
    text = re.sub(rb'"eventName":"task::([^"]*?)%b"' % re.escape(function), rb'"eventName":"task::\1%(function)b"', text)
    text = text.replace(b'__main__.%b\\"' % function, b'__main__.%(function)b\\"')
    return text.replace(b'\\"name\\": \\"%b\\"' % function, b'\\"name\\": \\"%(function)b\\"')
