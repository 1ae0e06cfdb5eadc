"""`/api/v0/tasks/summarize`: computed at load per job, otherwise from filter columns or from one page of rows."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.list_options import MAX_LIMIT, given_filters, split_filters
from api.dashboard.routing import DashboardScope, Routes
from api.dashboard.state import NOT_DRIVER, partial_failure, warned
from api.snapshots.filters import BadFilter, Filter
from shared.ray.columns import TASKS
from shared.ray.function_summary import summary_by_function
from shared.ray.lineage import LineageActor, LineageTask, summary_by_lineage
from shared.ray.versions import SUMMARY_BY_NAME

routes = Routes()
_encode = msgspec.json.encode
_BY = ("func_name", "task_name", "lineage")
_TRUNCATED = "There is missing data in this aggregation. Only the first {shown} of {found} tasks are in it: filter by job to see all."


class _Task(msgspec.Struct):
    """What lineage needs of a task row."""

    task_id: str
    name: str
    func_or_class_name: str
    type: str
    state: str
    parent_task_id: str
    actor_id: str | None
    creation_time_ms: float | None


class _Actor(msgspec.Struct):
    actor_id: str
    class_name: str
    repr_name: str | None = None


_decode_task = msgspec.json.Decoder(_Task).decode
_decode_actor = msgspec.json.Decoder(_Actor).decode


@routes.get("/api/v0/tasks/summarize")
async def summarize_tasks(request: Request, scope: DashboardScope) -> Response:
    by = request.query_params.get("summary_by") or "func_name"
    if by not in _BY:
        return answers.refused(f"summary_by={by!r} is none of {', '.join(_BY)}")
    try:
        given = given_filters(request.query_params)
        source, others = split_filters(TASKS, given)
    except BadFilter as exc:
        return answers.refused(str(exc))
    source = (NOT_DRIVER, *source)
    job = given[0][2].lower() if len(given) == 1 and given[0][:2] == ("job_id", "=") else None
    stored = await _stored(scope, "lineage" if by == "lineage" else "function", job) if job or not given else []
    counted = await scope.snapshot.table("tasks").select(others, source=source, limit=0, detail=False)
    warnings = None
    if not stored and by == "lineage":
        found, shown = await _lineage(scope, source, others)
        stored = [found]
        if shown < counted.num_filtered:
            warnings = [_TRUNCATED.format(shown=shown, found=counted.num_filtered)]
    elif not stored:
        stored = [await _functions(scope, (*source, *others))]
    meta = await scope.snapshot.meta()
    warnings = warnings or warned(meta, "tasks")
    before = (
        b'{"result":true,"msg":"","data":{"result":{"total":%d,"num_after_truncation":%d,"num_filtered":%d,'
        b'"result":{"node_id_to_summary":{"cluster":' % (counted.total, counted.total, counted.num_filtered)
    )
    after = b'}},"partial_failure_warning":%b,"warnings":%b}}}' % (
        _encode(partial_failure(meta)),
        _encode(warnings),
    )
    return answers.Pieces([before, *stored, after])


async def _stored(scope: DashboardScope, by: str, job: str | None) -> list[bytes]:
    return await scope.snapshot.doc_pieces(f"tasks/by_{by}/{job}" if job else f"tasks/by_{by}")


async def _functions(scope: DashboardScope, filters: tuple[Filter, ...]) -> bytes:
    by_name = SUMMARY_BY_NAME.in_ray((await scope.snapshot.meta()).ray_version)
    counts = await scope.snapshot.table("tasks").column_counts(("name", "func_or_class_name", "type", "state"), filters)
    return _encode(
        summary_by_function(
            ((str(name or function) if by_name else str(function), str(type_), str(state)), n)
            for (name, function, type_, state), n in counts.items()
        )
    )


async def _lineage(scope: DashboardScope, source: tuple[Filter, ...], others: tuple[Filter, ...]) -> tuple[bytes, int]:
    """Over at most as many rows as live would take."""
    page = await scope.snapshot.table("tasks").select(others, source=source, limit=MAX_LIMIT, detail=True)
    actors = await scope.snapshot.table("actors").select(limit=MAX_LIMIT, detail=True)
    tasks = [_lineage_task(_decode_task(row)) for row in page.rows]
    known = {a.actor_id: LineageActor(a.repr_name or "", a.class_name) for a in map(_decode_actor, actors.rows)}
    return summary_by_lineage(tasks, known), len(tasks)


def _lineage_task(row: _Task) -> LineageTask:
    return LineageTask(
        row.task_id,
        row.name or row.func_or_class_name,
        row.func_or_class_name,
        row.type,
        row.state,
        row.parent_task_id,
        row.actor_id,
        None if row.creation_time_ms is None else int(row.creation_time_ms),
    )
