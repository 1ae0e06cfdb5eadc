"""Merged attempts to the JSON rows of `api/v0/tasks`, straight to text: mirrors Ray's `protobuf_to_task_state_dict`.

Most of a row repeats from task to task. So what depends on the definition (`definitions.py`), on the worker, and on which states there
are is rendered once for each of them, and an attempt only joins the pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from json.encoder import encode_basestring
from typing import TypeVar

import msgspec

from shared.ray.ids import Hexer, id_or_none
from shared.ray.task_states import RANK
from shared.snapshots.format import Scalar
from workers.definitions import id_json
from workers.merge_tasks import Attempt
from workers.ray_events import LogInfo, ProfileEvents

# The filter columns of a task row, in the order of `TaskRow.values`.
COLUMNS = (
    "attempt_number", "name", "state", "job_id", "actor_id", "type", "func_or_class_name", "parent_task_id", "node_id", "worker_id",
    "worker_pid", "error_type", "language", "placement_group_id", "is_debugger_paused",
)  # fmt: skip

_ANSI = re.compile(r"\x1b[^m]*m")
_ACTOR_ID_AT = 16  # a creation task's id ends in its actor's
_PIECES_KEPT = 50_000
_quote: Callable[[str], str] = encode_basestring
_check_json = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


# One row: its id, its JSON with the base columns, what the detail columns add to it, the values of COLUMNS, and when
# it was created (ms, digits). With all columns the row is `base` without its last brace, and `rest`.
# A plain tuple: there are millions.
TaskRow = tuple[str, str, str, tuple[Scalar, ...], str]
_K = TypeVar("_K")
_V = TypeVar("_V")


class _Place(msgspec.Struct, gc=False):
    """Where attempts ran."""

    text: str
    node_id: str | None
    worker_id: str | None


class _States(msgspec.Struct, gc=False):
    """Attempts that were in the same states: the last one by rank, and the JSON of `events` as a template, `order` of the times in it."""

    last: str
    last_text: str
    template: str
    order: tuple[int, ...] | None


class TaskRenderer:
    """Renders attempts of one range."""

    def __init__(self, hexer: Hexer) -> None:
        self._hex = hexer
        self._quoted: dict[str, str] = {}
        self._places: dict[tuple[str, str, int], _Place] = {}
        self._states: dict[tuple[str, ...], _States] = {}
        self._components: dict[tuple[str, str, str], str] = {}
        self._span_names: dict[str, str] = {}

    def render(self, attempts: Sequence[Attempt], rejected: list[str]) -> list[TaskRow]:
        """Some attempts at a time. Those with an id that is none are left out; `rejected` gets the reason."""
        rows = []
        for attempt, spans in zip(attempts, self._spans(attempts), strict=True):
            try:
                rows.append(self._row(attempt, spans))
            except ValueError as exc:
                rejected.append(str(exc))
        return rows

    def _row(self, attempt: Attempt, spans: list[str]) -> TaskRow:
        shape, states, task_id = attempt.shape, attempt.states, attempt.task_id
        get = states.get
        place = self._places.get((attempt.node_id, attempt.worker_id, attempt.worker_pid)) or self._place(attempt)
        reached = self._states.get(tuple(states)) or self._reached(tuple(states))
        kind, name, name_text, state, parent = shape.kind, shape.name, shape.name_text, reached.last, attempt.parent
        actor_id = task_id[_ACTOR_ID_AT:] if kind == "ACTOR_CREATION_TASK" else attempt.actor_id
        if attempt.repr_name and kind == "ACTOR_TASK" and not shape.named_by_user:
            name = f"{attempt.repr_name}.{name.rsplit('.', 1)[-1]}"
            name_text = self._quote_known(name)
        times = tuple(states.values())
        if reached.order:
            times = tuple([times[at] for at in reached.order])
        creation, start, end = get("PENDING_ARGS_AVAIL", ""), get("RUNNING"), get("FAILED") or get("FINISHED")
        error_type, error_json, message = None, "null", "null"
        if attempt.error is not None and state == "FAILED":
            error_type = attempt.error.errorType
            error_json, message = _quote(error_type), _quote(_ANSI.sub("", attempt.error.errorMessage))
        base = (
            f'{{"task_id":"{task_id}","attempt_number":{attempt.number},"name":{name_text},"state":{reached.last_text}{shape.after_name}'
            f'{id_json(actor_id)}{shape.after_actor}{parent}"{place.text}{error_json}}}'
        )
        paused = attempt.debugger_paused
        rest = (
            f"{shape.before_events}{reached.template % times}"
            f'],"profiling_data":{self._profile(attempt.profile, spans) if attempt.profile else "{}"},'
            f'"creation_time_ms":{creation + ".0" if creation else "null"},"start_time_ms":{start + ".0" if start else "null"},'
            f'"end_time_ms":{end + ".0" if end else "null"},'
            f'"task_log_info":{self._logs(attempt.logs) if attempt.logs else "null"},"error_message":{message},'
            f'"is_debugger_paused":{"null" if paused is None else "true" if paused else "false"}{shape.tail}'
        )
        values = (
            attempt.number, name, state, shape.job_id, actor_id, kind, shape.function, parent, place.node_id, place.worker_id,
            attempt.worker_pid or None, error_type, shape.language, shape.placement_group, paused,
        )  # fmt: skip
        return task_id, base, rest, values, creation

    def _place(self, attempt: Attempt) -> _Place:
        node_id, worker_id = id_or_none(self._hex(attempt.node_id)), id_or_none(self._hex(attempt.worker_id))
        pid = attempt.worker_pid or "null"
        text = f',"node_id":{id_json(node_id)},"worker_id":{id_json(worker_id)},"worker_pid":{pid},"error_type":'
        return _remember(self._places, (attempt.node_id, attempt.worker_id, attempt.worker_pid), _Place(text, node_id, worker_id))

    def _reached(self, names: tuple[str, ...]) -> _States:
        ranked = sorted(range(len(names)), key=lambda at: RANK.get(names[at], -1))
        template = ",".join([f'{{"state":{_quote(names[at]).replace("%", "%%")},"created_ms":%s.0}}' for at in ranked])
        in_order = ranked == list(range(len(names)))
        last = names[ranked[-1]] if names else "NIL"
        return _remember(self._states, names, _States(last, _quote(last), template, None if in_order else tuple(ranked)))

    def _quote_known(self, text: str) -> str:
        return self._quoted.get(text) or _remember(self._quoted, text, _quote(text))

    def _spans(self, attempts: Sequence[Attempt]) -> Iterator[list[str]]:
        """The JSON of each attempt's profile events. Times become text all at once: that is most of the work."""
        spans = [span for attempt in attempts for span in attempt.spans]
        names, texts = self._span_names, []
        for start, end, span in zip(_ms_of_ns([s.startTime for s in spans]), _ms_of_ns([s.endTime for s in spans]), spans, strict=True):
            name, extra = span.eventName, span.extraData
            quoted = names.get(name) or _remember(names, name, _quote(name))
            # An extra of an own for each task is the rule, where there is any.
            shown = "{}" if extra in _NO_EXTRA else _extra(extra)
            texts.append(f'{{"start_time":{start},"end_time":{end},"extra_data":{shown},"event_name":{quoted}}}')
        at = 0
        for attempt in attempts:
            begin, at = at, at + len(attempt.spans)
            yield texts[begin:at]

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
        out, err = info.stdoutFile, info.stderrFile
        if out is not None and err is not None and None not in (info.stdoutStart, info.stdoutEnd, info.stderrStart, info.stderrEnd):
            return (
                f'{{"stdout_file":{quoted(out)},"stderr_file":{quoted(err)},"stdout_start":{info.stdoutStart},'
                f'"stdout_end":{info.stdoutEnd},"stderr_start":{info.stderrStart},"stderr_end":{info.stderrEnd}}}'
            )
        values = [
            ("stdout_file", out if out is None else quoted(out)), ("stderr_file", err if err is None else quoted(err)),
            ("stdout_start", info.stdoutStart), ("stdout_end", info.stdoutEnd),
            ("stderr_start", info.stderrStart), ("stderr_end", info.stderrEnd),
        ]  # fmt: skip
        return "{" + ",".join([f'"{name}":{value}' for name, value in values if value is not None]) + "}"


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


def _extra(text: str) -> str:
    """JSON within a string; what is no JSON object is shown as text (live fails on it)."""
    try:
        _check_json(text)
    except msgspec.DecodeError:
        return _quote(text)
    return text.replace("\n", " ").replace("\r", " ") if "\n" in text or "\r" in text else text
