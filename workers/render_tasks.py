"""Merged attempts to the JSON rows of `api/v0/tasks`, straight to text: mirrors Ray's `protobuf_to_task_state_dict`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

import msgspec

from shared.ray.ids import is_nil
from shared.ray.redaction import redact_serialized_runtime_env
from shared.ray.task_states import RANK
from shared.snapshots.format import Scalar
from workers.merge_tasks import Attempt, Hexer
from workers.ray_events import Definition, Function, LogInfo, ProfileEvent, ProfileEvents

# The filter columns of a task row, in the order of `TaskRow.values`.
COLUMNS = (
    "attempt_number", "name", "state", "job_id", "actor_id", "type", "func_or_class_name", "parent_task_id", "node_id", "worker_id",
    "worker_pid", "error_type", "language", "placement_group_id", "is_debugger_paused",
)  # fmt: skip

_ANSI = re.compile(r"\x1b[^m]*m")
_ACTOR_ID_AT = 16  # a creation task's id ends in its actor's
_DEFAULT_CONFIG = '{"setup_timeout_seconds":600,"eager_install":true,"log_files":[]}'
_quote: Callable[[str], str] = encode_basestring
_check_json = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(slots=True)
class TaskRow:
    """One row: its key, its JSON with the base columns and with all, the values of COLUMNS, and what lineage needs besides."""

    task_id: str
    number: int
    base: bytes
    full: bytes
    values: tuple[Scalar, ...]
    creation_ms: str


class TaskRenderer:
    """Renders attempts of one range. Keeps what repeats: ids, quoted names, runtime environments.

    `redactions` maps JSON text that holds secrets to the text a browser may see.
    """

    def __init__(self, hexer: Hexer) -> None:
        self._hex = hexer
        self._quoted: dict[str, str] = {}
        self._runtime_envs: dict[tuple[str, bool], str] = {}
        self.redactions: dict[str, str] = {}

    def render(self, attempt: Attempt) -> TaskRow:
        definition, states = attempt.definition, attempt.states
        to_hex, quoted = self._hex, self._quote_known
        task_id, job_id = to_hex(attempt.task_id), to_hex(definition.jobId)
        kind = definition.taskType
        creation_task = kind == "ACTOR_CREATION_TASK"
        actor_id = task_id[_ACTOR_ID_AT:] if creation_task else self._id(definition.actorId)
        function = _call_name(definition)
        name = definition.taskName or definition.actorTaskName
        if attempt.repr_name and kind == "ACTOR_TASK" and name == function:
            name = f"{attempt.repr_name}.{name.rsplit('.', 1)[-1]}"
        state = max(states, key=_rank) if states else "NIL"
        error = attempt.error if state == "FAILED" else None
        error_type = error.errorType if error else None
        parent = to_hex(definition.parentTaskId)
        node_id, worker_id = self._id(attempt.node_id), self._id(attempt.worker_id)
        pid = attempt.worker_pid or None
        placement_group = self._id(definition.placementGroupId)
        creation = states.get("PENDING_ARGS_AVAIL", "")

        base = (
            f'{{"task_id":"{task_id}","attempt_number":{attempt.number},"name":{quoted(name)},"state":"{state}","job_id":"{job_id}",'
            f'"actor_id":{_id_json(actor_id)},"type":"{kind}","func_or_class_name":{quoted(function)},"parent_task_id":"{parent}",'
            f'"node_id":{_id_json(node_id)},"worker_id":{_id_json(worker_id)},"worker_pid":{pid or "null"},'
            f'"error_type":{_text_json(error_type)}'
        )
        driver = kind == "DRIVER_TASK"
        fallback = _raw(definition.fallbackStrategy)
        message = _quote(_ANSI.sub("", error.errorMessage)) if error else "null"
        paused = attempt.debugger_paused
        rest = (
            f',"language":"{definition.language}","required_resources":{_raw(definition.requiredResources)},'
            f'"runtime_env_info":{self._runtime_env(definition.serializedRuntimeEnv, driver=driver)},'
            f'"placement_group_id":{_id_json(placement_group)},"events":[{_events(states)}],'
            f'"profiling_data":{self._profile(attempt.profile) if attempt.profile else "{}"},'
            f'"creation_time_ms":{_ms(creation)},"start_time_ms":{_ms(states.get("RUNNING", ""))},'
            f'"end_time_ms":{_ms(states.get("FAILED") or states.get("FINISHED", ""))},'
            f'"task_log_info":{_logs(attempt.logs) if attempt.logs else "null"},"error_message":{message},'
            f'"is_debugger_paused":{"null" if paused is None else "true" if paused else "false"},"call_site":{_text_json(definition.callSite)},'
            f'"label_selector":{_raw(definition.labelSelector)},'
            f'"fallback_strategy":{fallback if fallback != "null" or driver else _NO_FALLBACK}}}'
        )
        values = (
            attempt.number, name, state, job_id, actor_id, kind, function, parent, node_id, worker_id, pid, error_type,
            definition.language, placement_group, paused,
        )  # fmt: skip
        return TaskRow(task_id, attempt.number, (base + "}").encode(), (base + rest).encode(), values, creation)

    def _id(self, text: str) -> str | None:
        found = self._hex(text)
        return None if not found or is_nil(found) else found

    def _quote_known(self, text: str) -> str:
        known = self._quoted.get(text)
        if known is None:
            known = self._quoted[text] = _quote(text)
        return known

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

    def _profile(self, profile: ProfileEvents) -> str:
        spans = ",".join([_span(span) for span in profile.events])
        return (
            f'{{"component_type":{_quote(profile.componentType)},"component_id":"{self._hex(profile.componentId)}",'
            f'"node_ip_address":{_quote(profile.nodeIpAddress)},"events":[{spans}]}}'
        )


_NO_FALLBACK = '{"options":[]}'


def _rank(state: str) -> int:
    return RANK.get(state, -1)


def _events(states: dict[str, str]) -> str:
    if len(states) > 1:
        return ",".join([f'{{"state":"{s}","created_ms":{states[s]}.0}}' for s in sorted(states, key=_rank)])
    return ",".join([f'{{"state":"{state}","created_ms":{ms}.0}}' for state, ms in states.items()])


def _span(span: ProfileEvent) -> str:
    extra = span.extraData
    if extra not in ("{}", ""):
        extra = _extra(extra)
    return (
        f'{{"start_time":{int(span.startTime) / 1e6!r},"end_time":{int(span.endTime) / 1e6!r},'
        f'"extra_data":{extra or "{}"},"event_name":{_quote(span.eventName)}}}'
    )


def _extra(text: str) -> str:
    """JSON within a string; what is no JSON object is shown as text (live fails on it)."""
    try:
        _check_json(text)
    except msgspec.DecodeError:
        return _quote(text)
    return text.replace("\n", " ").replace("\r", " ")


def _logs(info: LogInfo) -> str:
    """Only the fields that some event set, as live."""
    parts = [
        f'"{name}":{value}'
        for name, value in (
            ("stdout_file", None if info.stdoutFile is None else _quote(info.stdoutFile)),
            ("stderr_file", None if info.stderrFile is None else _quote(info.stderrFile)),
            ("stdout_start", _offset(info.stdoutStart)),
            ("stdout_end", _offset(info.stdoutEnd)),
            ("stderr_start", _offset(info.stderrStart)),
            ("stderr_end", _offset(info.stderrEnd)),
        )
        if value is not None
    ]
    return f"{{{','.join(parts)}}}"


def _offset(value: str | int | None) -> int | None:
    return None if value is None else int(value)


def _call_name(definition: Definition) -> str:
    """Ray's `_call_string`: the last dotted component of class and function."""
    function: Function | None = definition.taskFunc or definition.actorFunc
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


def _text_json(text: str | None) -> str:
    return "null" if text is None else _quote(text)
