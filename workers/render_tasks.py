"""Merged attempts to the JSON rows of `api/v0/tasks`, straight to text: mirrors Ray's `protobuf_to_task_state_dict`.

Most of a row repeats from task to task. So what depends on the definition, on the worker, and on which states there are is
rendered once for each of them, and an attempt only joins the pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from json.encoder import encode_basestring
from typing import Any, NamedTuple, TypeVar

import msgspec

from shared.ray.ids import is_nil
from shared.ray.redaction import redact_serialized_runtime_env
from shared.ray.task_states import RANK
from shared.snapshots.format import Scalar
from workers.merge_tasks import Attempt, Hexer
from workers.ray_events import Definition, Function, LogInfo, ProfileEvents

# The filter columns of a task row, in the order of `TaskRow.values`.
COLUMNS = (
    "attempt_number", "name", "state", "job_id", "actor_id", "type", "func_or_class_name", "parent_task_id", "node_id", "worker_id",
    "worker_pid", "error_type", "language", "placement_group_id", "is_debugger_paused",
)  # fmt: skip

_ANSI = re.compile(r"\x1b[^m]*m")
_ACTOR_ID_AT = 16  # a creation task's id ends in its actor's
_DEFAULT_CONFIG = '{"setup_timeout_seconds":600,"eager_install":true,"log_files":[]}'
_NO_FALLBACK = '{"options":[]}'
_PIECES_KEPT = 50_000
_quote: Callable[[str], str] = encode_basestring
_check_json = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


# One row: its id and attempt number, its JSON with the base columns, what the detail columns add to it, the values of COLUMNS, and when
# it was created (ms, digits). With all columns the row is `base` without its last brace, and `rest`.
# A plain tuple: there are millions.
TaskRow = tuple[str, int, str, str, tuple[Scalar, ...], str]
# Few enough that they stay in the CPU's caches from decoding to rendering.
_AT_ONCE = 64
_K = TypeVar("_K")
_V = TypeVar("_V")


class _Shape(NamedTuple):
    """What all attempts of one definition share, but for the ids of task, actor and parent."""

    kind: str
    named: bool
    name: str
    function: str
    job_id: str
    placement_group: str | None
    after_name: str
    after_actor: str
    language: str
    tail: str


class _Place(NamedTuple):
    """Where attempts ran."""

    text: str
    node_id: str | None
    worker_id: str | None


class _States(NamedTuple):
    """Attempts that were in the same states: the last one by rank, and the JSON of `events` as a template, `order` of the times in it."""

    last: str
    template: str
    order: tuple[int, ...] | None


class TaskRenderer:
    """Renders attempts of one range. `redactions` maps JSON text that holds secrets to the text a browser may see."""

    def __init__(self, hexer: Hexer) -> None:
        self._hex = hexer
        self._quoted: dict[str, str] = {}
        self._runtime_envs: dict[tuple[str, bool], str] = {}
        self._shapes: dict[tuple[Any, ...], _Shape] = {}
        self._places: dict[tuple[str, str, int], _Place] = {}
        self._states: dict[tuple[str, ...], _States] = {}
        self._components: dict[tuple[str, str, str], str] = {}
        self._named: dict[tuple[str, str], str] = {}
        self.redactions: dict[str, str] = {}

    def render(self, attempts: Iterable[Attempt], rejected: list[str]) -> Iterator[TaskRow]:
        """Attempts with an id that is none are left out; `rejected` gets the reason."""
        remaining = iter(attempts)
        while batch := list(islice(remaining, _AT_ONCE)):
            for attempt, spans in zip(batch, self._spans(batch), strict=True):
                try:
                    yield self._row(attempt, spans)
                except ValueError as exc:
                    rejected.append(str(exc))

    def _row(self, attempt: Attempt, spans: list[str]) -> TaskRow:
        definition, states, task_id = attempt.definition, attempt.states, attempt.task_id
        shape = self._shape(definition)
        place = self._places.get((attempt.node_id, attempt.worker_id, attempt.worker_pid)) or self._place(attempt)
        reached = self._states.get(tuple(states)) or self._reached(tuple(states))
        kind, name, state = shape.kind, shape.name, reached.last
        actor_id = task_id[_ACTOR_ID_AT:] if kind == "ACTOR_CREATION_TASK" else self._id(definition.actorId)
        if attempt.repr_name and kind == "ACTOR_TASK" and not shape.named:
            name = f"{attempt.repr_name}.{name.rsplit('.', 1)[-1]}"
        parent = self._hex(definition.parentTaskId)
        times = tuple(states.values())
        if reached.order:
            times = tuple([times[at] for at in reached.order])
        creation = states.get("PENDING_ARGS_AVAIL", "")
        error_type, error_json, message = None, "null", "null"
        if attempt.error is not None and state == "FAILED":
            error_type = attempt.error.errorType
            error_json, message = _quote(error_type), _quote(_ANSI.sub("", attempt.error.errorMessage))
        base = (
            f'{{"task_id":"{task_id}","attempt_number":{attempt.number},"name":{self._quote_known(name)},"state":"{state}"{shape.after_name}'
            f'{_id_json(actor_id)}{shape.after_actor}{parent}"{place.text}{error_json}}}'
        )
        paused = attempt.debugger_paused
        rest = (
            f"{shape.language}{reached.template % times}"
            f'],"profiling_data":{self._profile(attempt.profile, spans) if attempt.profile else "{}"},'
            f'"creation_time_ms":{_ms(creation)},"start_time_ms":{_ms(states.get("RUNNING", ""))},'
            f'"end_time_ms":{_ms(states.get("FAILED") or states.get("FINISHED", ""))},'
            f'"task_log_info":{self._logs(attempt.logs) if attempt.logs else "null"},"error_message":{message},'
            f'"is_debugger_paused":{"null" if paused is None else "true" if paused else "false"}{shape.tail}'
        )
        values = (
            attempt.number, name, state, shape.job_id, actor_id, kind, shape.function, parent, place.node_id, place.worker_id,
            attempt.worker_pid or None, error_type, definition.language, shape.placement_group, paused,
        )  # fmt: skip
        return task_id, attempt.number, base, rest, values, creation

    def _shape(self, d: Definition) -> _Shape:
        function = d.taskFunc or d.actorFunc
        python = function.pythonFunctionDescriptor if function is not None else None
        call = (python.className, python.functionName) if python is not None else _call_name(function)
        key = (
            d.taskType, d.taskName, d.actorTaskName, call, d.jobId, d.language, d.serializedRuntimeEnv, d.placementGroupId,
            bytes(d.requiredResources), bytes(d.labelSelector), bytes(d.fallbackStrategy), d.callSite,
        )  # fmt: skip
        return self._shapes.get(key) or _remember(self._shapes, key, self._new_shape(d, _call_name(function)))

    def _new_shape(self, d: Definition, function: str) -> _Shape:
        name = d.taskName or d.actorTaskName
        job_id, placement_group = self._hex(d.jobId), self._id(d.placementGroupId)
        driver = d.taskType == "DRIVER_TASK"
        fallback = _raw(d.fallbackStrategy)
        return _Shape(
            d.taskType,
            name != function,
            name,
            function,
            job_id,
            placement_group,
            f',"job_id":"{job_id}","actor_id":',
            f',"type":{_quote(d.taskType)},"func_or_class_name":{_quote(function)},"parent_task_id":"',
            f',"language":{_quote(d.language)},"required_resources":{_raw(d.requiredResources)},'
            f'"runtime_env_info":{self._runtime_env(d.serializedRuntimeEnv, driver=driver)},'
            f'"placement_group_id":{_id_json(placement_group)},"events":[',
            f',"call_site":{"null" if d.callSite is None else _quote(d.callSite)},"label_selector":{_raw(d.labelSelector)},'
            f'"fallback_strategy":{fallback if fallback != "null" or driver else _NO_FALLBACK}}}',
        )

    def _place(self, attempt: Attempt) -> _Place:
        node_id, worker_id = self._id(attempt.node_id), self._id(attempt.worker_id)
        pid = attempt.worker_pid or "null"
        text = f',"node_id":{_id_json(node_id)},"worker_id":{_id_json(worker_id)},"worker_pid":{pid},"error_type":'
        return _remember(self._places, (attempt.node_id, attempt.worker_id, attempt.worker_pid), _Place(text, node_id, worker_id))

    def _reached(self, names: tuple[str, ...]) -> _States:
        ranked = sorted(range(len(names)), key=lambda at: RANK.get(names[at], -1))
        template = ",".join([f'{{"state":{_quote(names[at]).replace("%", "%%")},"created_ms":%s.0}}' for at in ranked])
        in_order = ranked == list(range(len(names)))
        last = names[ranked[-1]] if names else "NIL"
        return _remember(self._states, names, _States(last, template, None if in_order else tuple(ranked)))

    def _id(self, text: str) -> str | None:
        found = self._hex(text)
        return None if not found or is_nil(found) else found

    def _quote_known(self, text: str) -> str:
        return self._quoted.get(text) or _remember(self._quoted, text, _quote(text))

    def _runtime_env(self, serialized: str, *, driver: bool) -> str:
        """`runtime_env_info`; live gives a config to all but drivers."""
        known = self._runtime_envs.get((serialized, driver))
        if known is None:
            text = f'"serialized_runtime_env":{_quote(serialized)}'
            shown = f'"serialized_runtime_env":{_quote(redact_serialized_runtime_env(serialized) or "")}'
            if shown != text and "env_vars" in serialized:
                self.redactions[text] = shown
            known = f"{{{text}}}" if driver else f'{{{text},"runtime_env_config":{_config(serialized)}}}'
            self._runtime_envs[serialized, driver] = known
        return known

    def _spans(self, attempts: list[Attempt]) -> Iterator[list[str]]:
        """The JSON of each attempt's profile events. Times become text all at once: that is most of the work."""
        spans = [span for attempt in attempts if attempt.profile is not None for span in attempt.profile.events]
        named, texts = self._named, []
        for start, end, span in zip(_ms_of_ns([s.startTime for s in spans]), _ms_of_ns([s.endTime for s in spans]), spans, strict=True):
            key = (span.eventName, span.extraData)
            texts.append(f'{{"start_time":{start},"end_time":{end}{named.get(key) or _remember(named, key, _name_of_span(*key))}')
        at = 0
        for attempt in attempts:
            count = len(attempt.profile.events) if attempt.profile is not None else 0
            yield texts[at : at + count]
            at += count

    def _profile(self, profile: ProfileEvents, spans: list[str]) -> str:
        key = (profile.componentType, profile.componentId, profile.nodeIpAddress)
        head = self._components.get(key)
        if head is None:
            head = (
                f'{{"component_type":{_quote(profile.componentType)},"component_id":"{self._hex(profile.componentId)}",'
                f'"node_ip_address":{_quote(profile.nodeIpAddress)},"events":['
            )
            _remember(self._components, key, head)
        return f"{head}{','.join(spans)}]}}"

    def _logs(self, info: LogInfo) -> str:
        """Only the fields that some event set, as live."""
        quoted = self._quote_known
        parts = []
        if info.stdoutFile is not None:
            parts.append(f'"stdout_file":{quoted(info.stdoutFile)}')
        if info.stderrFile is not None:
            parts.append(f'"stderr_file":{quoted(info.stderrFile)}')
        if info.stdoutStart is not None:
            parts.append(f'"stdout_start":{info.stdoutStart}')
        if info.stdoutEnd is not None:
            parts.append(f'"stdout_end":{info.stdoutEnd}')
        if info.stderrStart is not None:
            parts.append(f'"stderr_start":{info.stderrStart}')
        if info.stderrEnd is not None:
            parts.append(f'"stderr_end":{info.stderrEnd}')
        return f"{{{','.join(parts)}}}"


_NO_EXTRA = ("{}", "")


def _remember(known: dict[_K, _V], key: _K, piece: _V) -> _V:
    """Keep a piece; where hardly anything repeats, memory stays bounded."""
    if len(known) >= _PIECES_KEPT:
        known.clear()
    known[key] = piece
    return piece


def _ms_of_ns(times: list[int]) -> list[str]:
    """Nanoseconds as live shows them: float milliseconds."""
    return msgspec.json.encode([ns / 1e6 for ns in times]).decode()[1:-1].split(",") if times else []


def _name_of_span(name: str, extra: str) -> str:
    return f',"extra_data":{"{}" if extra in _NO_EXTRA else _extra(extra)},"event_name":{_quote(name)}}}'


def _extra(text: str) -> str:
    """JSON within a string; what is no JSON object is shown as text (live fails on it)."""
    try:
        _check_json(text)
    except msgspec.DecodeError:
        return _quote(text)
    return text.replace("\n", " ").replace("\r", " ") if "\n" in text or "\r" in text else text


def _call_name(function: Function | None) -> str:
    """Ray's `_call_string`: the last dotted component of class and function."""
    if function is None:
        return ""
    if (python := function.pythonFunctionDescriptor) is not None:
        name = python.functionName.rsplit(".", 1)[-1]
        return f"{python.className.rsplit('.', 1)[-1]}.{name}" if python.className else name
    if (java := function.javaFunctionDescriptor) is not None:
        return f"{java.className}.{java.functionName}" if java.className else java.functionName
    return function.cppFunctionDescriptor.functionName if function.cppFunctionDescriptor else ""


def _config(serialized: str) -> str:
    """The runtime env's own config, or Ray's defaults (`RuntimeEnvConfig`)."""
    if '"config"' not in serialized:
        return _DEFAULT_CONFIG
    try:
        config: Any = msgspec.json.decode(serialized).get("config")
    except (msgspec.DecodeError, AttributeError):
        return _DEFAULT_CONFIG
    if not isinstance(config, dict):
        return _DEFAULT_CONFIG
    return msgspec.json.encode({**msgspec.json.decode(_DEFAULT_CONFIG), **config}).decode()


def _raw(raw: msgspec.Raw) -> str:
    return bytes(raw).decode()


def _ms(digits: str) -> str:
    return f"{digits}.0" if digits else "null"


def _id_json(hex_id: str | None) -> str:
    return f'"{hex_id}"' if hex_id else "null"
