"""`/api/v0/tasks/timeline`: a Chrome trace of the profile events of up to 10,000 tasks, as live has it; `limit=all`: of every task.

Mirrors Ray's `_private/profiling.chrome_tracing_dump`: a trace's pid stands for a node, its tid for a worker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.dashboard import answers
from api.dashboard.list_options import ALL, MAX_LIMIT, split_filters
from api.dashboard.routing import DashboardScope, Routes
from api.dashboard.state import NOT_DRIVER
from api.snapshots.filters import BadFilter, Filter
from api.snapshots.table import TableReader
from shared.ray.columns import TASKS

routes = Routes()

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
_ROWS_AT_ONCE = 1000
_NOTHING = msgspec.Raw(b"{}")


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


@routes.get("/api/v0/tasks/timeline")
async def tasks_timeline(request: Request, scope: DashboardScope) -> Response:
    job_id = request.query_params.get("job_id")
    try:
        of_job, _ = split_filters(TASKS, [("job_id", "=", job_id)] if job_id else [])
    except BadFilter as exc:
        return answers.refused(f"job_id: {exc}")
    source = (NOT_DRIVER, *of_job)
    response: Response
    if request.query_params.get("limit") != ALL:
        page = await scope.snapshot.table("tasks").select(source=source, limit=MAX_LIMIT, detail=True)
        # In one piece: the server waits for the client after each.
        response = answers.json_bytes(await anyio.to_thread.run_sync(lambda: b"".join(trace(page.rows))))
    elif request.method == "HEAD":
        response = answers.json_bytes(b"")
    else:
        response = StreamingResponse(whole_trace(scope.snapshot.table("tasks"), source), media_type="application/json")
    if request.query_params.get("download") == "1":
        name = f"timeline-{job_id}-{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}.json"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def whole_trace(tasks: TableReader, source: Sequence[Filter]) -> AsyncIterator[bytes]:
    """Of every task, some thousand at a time: memory is bounded whatever the session's size."""
    made = _Trace()
    async for page in tasks.stream(source=source, detail=True):
        if page.rows:
            yield await anyio.to_thread.run_sync(made.events, page.rows)
    yield made.end()


def trace(rows: Sequence[bytes]) -> Iterator[bytes]:
    """The trace's JSON text in pieces, from detailed task rows."""
    made = _Trace()
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield made.events(rows[start : start + _ROWS_AT_ONCE])
    yield made.end()


class _Trace:
    """One trace, made row by row: numbers nodes and workers in the order in which it meets them, and names them at its end."""

    def __init__(self) -> None:
        self._nodes: dict[str, int] = {}
        self._workers: dict[tuple[int, str], int] = {}
        self._begun = False

    def events(self, rows: Iterable[bytes]) -> bytes:
        """The complete events of some more rows, as a piece of the array."""
        return self._piece([event for row in rows for event in self._events_of(_decode(row))])

    def end(self) -> bytes:
        """The names of nodes and workers, and the array's end."""
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
            extra, args = {}, args_alone
            # Most spans say nothing more.
            if span.extra_data != _NOTHING:
                extra = _decode_any(span.extra_data)
                extra = extra if isinstance(extra, dict) else {}
                args = _encode(extra | ours)
            start, end = span.start_time * 1e3, span.end_time * 1e3
            # As text: an object for each span would take most of the time of an answer.
            yield b'{"cat":%b,"name":%b,"pid":%d,"tid":%d,"ts":%b,"dur":%b,"cname":"%b","args":%b,"ph":"X"}' % (
                _text(span.event_name),
                _encode(extra["name"]) if "name" in extra else _text(span.event_name),
                pid,
                tid,
                _encode(start),
                _encode(end - start),
                _color(str(extra.get("cname", span.event_name))),
                args,
            )


@lru_cache(maxsize=1024)
def _text(name: str) -> bytes:
    return _encode(name)


@lru_cache(maxsize=1024)
def _color(name: str) -> bytes:
    return _COLORS.get(name, _OTHER_COLOR).encode()
