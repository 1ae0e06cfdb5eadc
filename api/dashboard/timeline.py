"""`/api/v0/tasks/timeline`: a Chrome trace of the profile events of up to 10,000 tasks, streamed as it is made.

Mirrors Ray's `_private/profiling.chrome_tracing_dump`: a trace's pid stands for a node, its tid for a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.dashboard import answers
from api.dashboard.list_options import MAX_LIMIT, split_filters
from api.dashboard.routing import Routes
from api.dashboard.scope import DashboardScope
from api.dashboard.state import NOT_DRIVER
from shared.ray.columns import TASKS
from shared.snapshots.filters import BadFilter

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
_ROWS_PER_CHUNK = 200


class _Span(msgspec.Struct):
    start_time: float
    end_time: float
    event_name: str
    extra_data: Any


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
_encode = msgspec.json.Encoder().encode


@routes.get("/api/v0/tasks/timeline")
async def tasks_timeline(request: Request, scope: DashboardScope) -> Response:
    job_id = request.query_params.get("job_id")
    try:
        source, _ = split_filters(TASKS, [("job_id", "=", job_id)] if job_id else [])
    except BadFilter as exc:
        return answers.refused(f"job_id: {exc}")
    page = await scope.snapshot.table("tasks").select(source=(NOT_DRIVER, *source), limit=MAX_LIMIT, detail=True)
    headers = {}
    if request.query_params.get("download") == "1":
        headers["Content-Disposition"] = f'attachment; filename="timeline-{job_id}-{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}.json"'
    return StreamingResponse(trace(page.rows), media_type="application/json", headers=headers)


def trace(rows: Sequence[bytes]) -> Iterator[bytes]:
    """The trace's JSON text in pieces, from detailed task rows."""
    nodes: dict[str, int] = {}
    workers: dict[tuple[int, str], int] = {}
    separator = b"["
    for start in range(0, len(rows), _ROWS_PER_CHUNK):
        events = [event for row in rows[start : start + _ROWS_PER_CHUNK] for event in _complete_events(_decode(row), nodes, workers)]
        if events:
            yield separator + _encode(events)[1:-1]
            separator = b","
    named = [{"name": "process_name", "args": {"name": f"Node {node}"}, "pid": pid, "ph": "M"} for node, pid in nodes.items()] + [
        {"name": "thread_name", "args": {"name": worker}, "pid": pid, "tid": tid, "ph": "M"} for (pid, worker), tid in workers.items()
    ]
    yield separator + _encode(named)[1:-1] + b"]" if named else separator.replace(b",", b"") + b"]"


def _complete_events(task: _Task, nodes: dict[str, int], workers: dict[tuple[int, str], int]) -> Iterator[dict[str, Any]]:
    profile = task.profiling_data
    if profile.component_type not in ("worker", "driver"):
        return
    for span in profile.events:
        extra = span.extra_data if isinstance(span.extra_data, dict) else {}
        args = {
            **extra,
            "task_id": task.task_id,
            "job_id": task.job_id,
            "attempt_number": task.attempt_number,
            "func_or_class_name": task.func_or_class_name,
            "actor_id": task.actor_id,
        }
        pid = nodes.setdefault(profile.node_ip_address, len(nodes))
        tid = workers.setdefault((pid, f"{profile.component_type}:{profile.component_id}"), len(workers))
        yield {
            "cat": span.event_name,
            "name": extra.get("name", span.event_name),
            "pid": pid,
            "tid": tid,
            "ts": span.start_time * 1e3,
            "dur": span.end_time * 1e3 - span.start_time * 1e3,
            "cname": _COLORS.get(str(extra.get("cname", span.event_name)), _OTHER_COLOR),
            "args": args,
            "ph": "X",
        }
