"""A Chrome trace of task rows: their profile events, as text. The core in Rust makes the same where it is installed (`core/src/trace.rs`).

Mirrors Ray's `_private/profiling.chrome_tracing_dump`: a trace's pid stands for a node, its tid for a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol, cast

import msgspec

from shared.snapshot_format import BETWEEN_ROWS

# Live makes one of so many tasks, in no order. Here they are the first.
TIMELINE_TASKS = 10_000
# A document of snapshots of many tasks: the trace of the first TIMELINE_TASKS of all jobs, without drivers.
TIMELINE = "tasks/timeline"

_COLORS = {
    "worker_idle": "cq_build_abandoned",
    "task": "rail_response",
    "task:deserialize_arguments": "rail_load",
    "task:execute": "rail_animation",
    "task:store_outputs": "rail_idle",
    "wait_for_function": "detailed_memory_dump",
    "ray.get": "good",
    "ray.put": "terrible",
    "ray.wait": "vsync_highlight_color",
    "submit_task": "background_memory_dump",
    "fetch_and_run_function": "detailed_memory_dump",
    "register_remote_function": "detailed_memory_dump",
}
_OTHER_COLOR = "generic_work"
_TEXTS_AT_ONCE = 500
_NOTHING = msgspec.Raw(b"{}")


class Trace(Protocol):
    """One trace, made row by row: numbers nodes and workers in the order in which it meets them, and names them at its end."""

    def events(self, texts: Sequence[bytes]) -> bytes:
        """The complete events of some more detailed rows, as a piece of the array. A text is one row, or some with BETWEEN_ROWS between."""

    def end(self) -> bytes:
        """The names of nodes and workers, and the array's end."""


def new_trace() -> Trace:
    try:
        from ray_history_core import Trace as CoreTrace  # noqa: PLC0415 - it may be missing
    except ImportError:
        return PythonTrace()
    return cast("Trace", CoreTrace(_unusual))


def trace(texts: Sequence[bytes], made: Trace | None = None) -> Iterator[bytes]:
    """The trace's JSON text in pieces, from detailed task rows."""
    made = made or new_trace()
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        if piece := made.events(texts[start : start + _TEXTS_AT_ONCE]):
            yield piece
    yield made.end()


class _Span(msgspec.Struct):
    start_time: float
    end_time: float
    event_name: str
    extra_data: msgspec.Raw = msgspec.Raw(b"{}")


class _Profile(msgspec.Struct):
    component_type: str = ""
    component_id: str = ""
    node_ip_address: str = ""
    events: list[_Span] = []


class _Task(msgspec.Struct):
    task_id: str
    job_id: str
    attempt_number: int
    func_or_class_name: str
    actor_id: str | None
    profiling_data: _Profile


_decode = msgspec.json.Decoder(_Task).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class PythonTrace:
    """The rules, in plain Python."""

    def __init__(self) -> None:
        self._nodes: dict[str, int] = {}
        self._workers: dict[tuple[int, str], int] = {}
        self._begun = False

    def events(self, texts: Sequence[bytes]) -> bytes:
        return self._piece([event for text in texts for row in text.split(BETWEEN_ROWS) for event in self._events_of(_decode(row))])

    def end(self) -> bytes:
        named = [{"name": "process_name", "args": {"name": f"Node {node}"}, "pid": pid, "ph": "M"} for node, pid in self._nodes.items()]
        threads = [
            {"name": "thread_name", "args": {"name": worker}, "pid": pid, "tid": tid, "ph": "M"}
            for (pid, worker), tid in self._workers.items()
        ]
        last = self._piece([_encode(one) for one in (*named, *threads)])
        return last + (b"]" if self._begun else b"[]")

    def _piece(self, events: list[bytes]) -> bytes:
        if not events:
            return b""
        before, self._begun = b"," if self._begun else b"[", True
        return before + b",".join(events)

    def _events_of(self, task: _Task) -> Iterator[bytes]:
        profile = task.profiling_data
        if profile.component_type not in ("worker", "driver") or not profile.events:
            return
        pid = self._nodes.setdefault(profile.node_ip_address, len(self._nodes))
        tid = self._workers.setdefault((pid, f"{profile.component_type}:{profile.component_id}"), len(self._workers))
        ours = {
            "task_id": task.task_id,
            "job_id": task.job_id,
            "attempt_number": task.attempt_number,
            "func_or_class_name": task.func_or_class_name,
            "actor_id": task.actor_id,
        }
        args_alone = _encode(ours)
        for span in profile.events:
            if span.extra_data == _NOTHING:
                name, color, args = _text(span.event_name), _color(span.event_name), args_alone
            else:
                name, color, args = _described(span.event_name, bytes(span.extra_data), ours)
            start, end = span.start_time * 1e3, span.end_time * 1e3
            # As text: an object for each span would take most of the time of an answer.
            yield b'{"cat":%b,"name":%b,"pid":%d,"tid":%d,"ts":%b,"dur":%b,"cname":"%b","args":%b,"ph":"X"}' % (
                _text(span.event_name),
                name,
                pid,
                tid,
                _encode(start),
                _encode(end - start),
                color,
                args,
            )


def _described(event_name: str, extra_json: bytes, ours: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """JSON of a span's name, its color, and JSON of its args. What its program said of it may be anything."""
    try:
        extra = _decode_any(extra_json)
    except msgspec.DecodeError:  # such as a number that no float can hold
        extra = {}
    if not isinstance(extra, dict):
        extra = {}
    name = _encode(extra["name"]) if "name" in extra else _text(event_name)
    return name, _color(str(extra.get("cname", event_name))), _encode(extra | ours)


def _unusual(event_name: str, extra_json: str, args: str) -> tuple[str, str, str]:
    """The same for the core, which knows the plainest of these spans."""
    name, color, described = _described(event_name, extra_json.encode(), _decode_any(args))
    return name.decode(), color.decode(), described.decode()


@lru_cache(maxsize=1024)
def _text(name: str) -> bytes:
    return _encode(name)


@lru_cache(maxsize=1024)
def _color(name: str) -> bytes:
    return _COLORS.get(name, _OTHER_COLOR).encode()
