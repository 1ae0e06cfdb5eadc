"""`/api/v0/tasks/timeline`: a Chrome trace of the profile events of up to 10,000 tasks, as live has it; `limit=all`: of every task.

That of a large session was made when it was loaded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.dashboard import answers
from api.dashboard.list_options import ALL, split_filters
from api.dashboard.routing import DashboardScope, Routes
from api.dashboard.state import NOT_DRIVER
from api.snapshots.filters import BadFilter, Filter
from api.snapshots.rows import row_texts
from api.snapshots.table import TableReader
from shared.ray.columns import TASKS
from shared.timeline import TIMELINE, TIMELINE_TASKS, new_trace, trace

routes = Routes()


@routes.get("/api/v0/tasks/timeline")
async def tasks_timeline(request: Request, scope: DashboardScope) -> Response:
    job_id = request.query_params.get("job_id")
    try:
        of_job, _ = split_filters(TASKS, [("job_id", "=", job_id)] if job_id else [])
    except BadFilter as exc:
        return answers.refused(f"job_id: {exc}")
    source = (NOT_DRIVER, *of_job)
    tasks = scope.snapshot.table("tasks")
    response: Response
    if request.query_params.get("limit") != ALL:
        if not of_job or await _is_the_only_job(tasks, source):
            prepared = await scope.snapshot.doc_pieces(TIMELINE)
        else:
            prepared = []
        response = answers.Pieces(prepared) if prepared else await _made(tasks, source)
    elif request.method == "HEAD":
        response = answers.json_bytes(b"")
    else:
        response = StreamingResponse(whole_trace(tasks, source), media_type="application/json")
    if request.query_params.get("download") == "1":
        name = f"timeline-{job_id}-{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}.json"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def _is_the_only_job(tasks: TableReader, source: Sequence[Filter]) -> bool:
    """Do all tasks pass? Then what was prepared of all of them is of this job. Counts of large tables are at hand."""
    every, passing = [await tasks.select(source=one, limit=0, detail=True) for one in ((NOT_DRIVER,), source)]
    return every.total == passing.total


async def _made(tasks: TableReader, source: Sequence[Filter]) -> Response:
    page = await tasks.select(source=source, limit=TIMELINE_TASKS, detail=True)
    # In one piece: the server waits for the client after each.
    return answers.json_bytes(await anyio.to_thread.run_sync(lambda: b"".join(trace(row_texts(page.rows)))))


async def whole_trace(tasks: TableReader, source: Sequence[Filter]) -> AsyncIterator[bytes]:
    """Of every task, some thousand at a time: memory is bounded whatever the session's size."""
    made = new_trace()
    async for page in tasks.stream(source=source, detail=True):
        if page.rows and (piece := await anyio.to_thread.run_sync(made.events, row_texts(page.rows))):
            yield piece
    yield made.end()
