"""`/events`: log events by job, rendered at load (Ray: `modules/event/event_head.py`)."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.routing import DashboardScope, Routes

routes = Routes()
_encode = msgspec.json.encode
_decode_jobs = msgspec.json.Decoder(list[str]).decode


@routes.get("/events")
async def list_events(request: Request, scope: DashboardScope) -> Response:
    """All by job, those of no job under `global`; or one job's with `job_id`."""
    job_id = request.query_params.get("job_id")
    if job_id is not None:
        events = await scope.snapshot.doc(f"events/of/{job_id}") or b"[]"
        return answers.envelope("Job events fetched.", b'{"jobId":%b,"events":%b}' % (_encode(job_id), events))
    jobs = _decode_jobs(await scope.snapshot.doc("events/jobs") or b"[]")
    pieces = [b"%b:%b" % (_encode(job), await scope.snapshot.doc(f"events/of/{job}") or b"[]") for job in jobs]
    return answers.envelope("All events fetched.", b'{"events":{%b}}' % b",".join(pieces))
