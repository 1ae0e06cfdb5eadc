"""A merged attempt to a row of `api/v0/tasks`, as JSON text and as values to filter by: mirrors Ray's `protobuf_to_task_state_dict`."""

from __future__ import annotations

import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import NamedTuple

import msgspec

from shared.ray.proto_json import RANK, id_or_none
from shared.snapshot_format import Scalar
from workers.task_events.records import Attempt, Definition, LogInfo, Profile, Span

# The filter columns of a task row, in the order of `TaskRow.values`.
COLUMNS = (
    "attempt_number", "name", "state", "job_id", "actor_id", "type", "func_or_class_name", "parent_task_id", "node_id", "worker_id",
    "worker_pid", "error_type", "language", "placement_group_id", "is_debugger_paused",
)  # fmt: skip
DRIVER = "DRIVER_TASK"
RuntimeEnvJson = Callable[[str, bool], str]
"""`runtime_env_info` of a serialized runtime environment; the flag says that it is a driver's."""

_ANSI = re.compile(r"\x1b[^m]*m")
_ACTOR_ID_AT = 16  # a creation task's id ends in its actor's
_NO_FALLBACK = '{"options":[]}'
_quote: Callable[[str], str] = encode_basestring


class TaskRow(NamedTuple):
    """`base`: JSON with the base columns. With all columns it is `base` without its last brace, and `rest`.

    `times`: when (ms) it was submitted, started and ended.
    """

    base: str
    rest: str
    values: tuple[Scalar, ...]
    times: tuple[int | None, int | None, int | None]
    error_message: str | None


def render(attempt: Attempt, definition: Definition, runtime_env: RuntimeEnvJson) -> TaskRow:
    d, a = definition, attempt
    name = d.name
    if a.repr_name and d.type == "ACTOR_TASK" and name == d.function:  # the user did not name it
        name = f"{a.repr_name}.{name.rsplit('.', 1)[-1]}"
    states = sorted(a.states.items(), key=lambda item: RANK.get(item[0], -1))
    state = states[-1][0] if states else "NIL"
    actor_id = a.task_id[_ACTOR_ID_AT:] if d.type == "ACTOR_CREATION_TASK" else id_or_none(d.actor_id)
    node_id, worker_id, group = id_or_none(a.node_id), id_or_none(a.worker_id), id_or_none(d.placement_group_id)
    error = a.error if state == "FAILED" else None
    created, started = a.states.get("PENDING_ARGS_AVAIL"), a.states.get("RUNNING")
    error_message = _ANSI.sub("", error.message) if error else None
    ended = a.states["FAILED"] if "FAILED" in a.states else a.states.get("FINISHED")
    events = ",".join([f'{{"state":{_quote(state)},"created_ms":{_ms(ms)}}}' for state, ms in states])
    base = (
        f'{{"task_id":"{a.task_id}","attempt_number":{a.number},"name":{_quote(name)},"state":{_quote(state)},"job_id":"{d.job_id}",'
        f'"actor_id":{_id(actor_id)},"type":{_quote(d.type)},"func_or_class_name":{_quote(d.function)},'
        f'"parent_task_id":"{d.parent_task_id}","node_id":{_id(node_id)},"worker_id":{_id(worker_id)},'
        f'"worker_pid":{a.worker_pid or "null"},"error_type":{_quote(error.type) if error else "null"}}}'
    )
    driver = d.type == DRIVER
    rest = (
        f',"language":{_quote(d.language)},"required_resources":{d.resources},"runtime_env_info":{runtime_env(d.runtime_env, driver)},'
        f'"placement_group_id":{_id(group)},"events":[{events}],"profiling_data":{_profile(a.profile, a.spans)},'
        f'"creation_time_ms":{_ms(created)},"start_time_ms":{_ms(started)},"end_time_ms":{_ms(ended)},'
        f'"task_log_info":{_logs(a.logs)},"error_message":{"null" if error_message is None else _quote(error_message)},'
        f'"is_debugger_paused":{_bool(a.debugger_paused)},"call_site":{"null" if d.call_site is None else _quote(d.call_site)},'
        f'"label_selector":{d.label_selector},'
        f'"fallback_strategy":{d.fallback_strategy or ("null" if driver else _NO_FALLBACK)}}}'
    )
    values = (
        a.number, name, state, d.job_id, actor_id, d.type, d.function, d.parent_task_id, node_id, worker_id, a.worker_pid or None,
        error.type if error else None, d.language, group, a.debugger_paused,
    )  # fmt: skip
    return TaskRow(base, rest, values, (created, started, ended), error_message)


def _id(hex_id: str | None) -> str:
    return f'"{hex_id}"' if hex_id else "null"


def _ms(ms: int | None) -> str:
    """Live shows floats."""
    return "null" if ms is None else f"{ms}.0"


def _bool(value: bool | None) -> str:
    return "null" if value is None else "true" if value else "false"


def _profile(profile: Profile | None, spans: list[Span]) -> str:
    if profile is None:
        return "{}"
    # Float milliseconds, all at once: that is most of the work.
    times = msgspec.json.encode([ns / 1e6 for span in spans for ns in (span.start, span.end)]).decode()[1:-1].split(",")
    events = ",".join([
        f'{{"start_time":{start},"end_time":{end},"extra_data":{span.extra},"event_name":{_quote(span.name)}}}'
        for start, end, span in zip(times[::2], times[1::2], spans, strict=False)
    ])  # fmt: skip
    return (
        f'{{"component_type":{_quote(profile.component_type)},"component_id":"{profile.component_id}",'
        f'"node_ip_address":{_quote(profile.node_ip)},"events":[{events}]}}'
    )


def _logs(logs: LogInfo | None) -> str:
    """Only the fields that some event set, as live."""
    if logs is None:
        return "null"
    fields = zip(logs.__struct_fields__, msgspec.structs.astuple(logs), strict=True)
    shown = [f'"{name}":{_quote(value) if isinstance(value, str) else value}' for name, value in fields if value is not None]
    return "{" + ",".join(shown) + "}"
