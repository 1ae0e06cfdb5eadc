"""`/api/jobs/`: jobs, one job, and what its driver printed (Ray: `modules/job/job_head.py`)."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.dashboard import answers
from api.dashboard.routing import DashboardScope, Routes
from api.snapshots.filters import make_filter
from shared.errors import ObjectNotFound
from shared.layout import log_prefixes
from shared.ray.columns import JOBS
from shared.ray.redaction import redact_rows
from shared.storage.port import Storage

routes = Routes()
_encode = msgspec.json.encode
_ALL = 1 << 30


class _Job(msgspec.Struct):
    type: str
    submission_id: str | None
    driver_node_id: str | None


_decode_job = msgspec.json.Decoder(_Job).decode


@routes.get("/api/jobs")
async def list_jobs(_request: Request, scope: DashboardScope) -> Response:
    page = await scope.snapshot.table("jobs").select(limit=_ALL, detail=True, browser=scope.browser)
    return answers.json_bytes(b"[" + b",".join(page.rows) + b"]")


@routes.get("/api/jobs/{job_or_submission_id}")
async def show_job(request: Request, scope: DashboardScope) -> Response:
    job_or_submission_id = request.path_params["job_or_submission_id"]
    row = await _find(scope, job_or_submission_id)
    return _unknown(job_or_submission_id) if row is None else answers.json_bytes(row)


@routes.get("/api/jobs/{job_or_submission_id}/logs")
async def show_job_logs(request: Request, scope: DashboardScope) -> Response:
    found = await _driver_log(scope, request.path_params["job_or_submission_id"])
    if isinstance(found, Response):
        return found
    if found is None:
        return answers.json_bytes(b'{"logs":""}')
    return StreamingResponse(_logs(scope.storage, found), media_type="application/json")


@routes.get("/api/jobs/{job_or_submission_id}/logs/tail")
async def tail_job_logs(request: Request, scope: DashboardScope) -> Response:
    """What live sends through a websocket (`api/websocket.py`), to its end: the log of a dead session does not grow."""
    found = await _driver_log(scope, request.path_params["job_or_submission_id"])
    if isinstance(found, Response):
        return found
    return StreamingResponse(map(str.encode, _lines(scope.storage, found) if found else ()), media_type="text/plain")


async def _driver_log(scope: DashboardScope, job_or_submission_id: str) -> str | Response | None:
    """The key of what a job's driver printed; None: nothing, or nobody stored it. Else the answer that live gives for such a job."""
    row = await _find(scope, job_or_submission_id)
    if row is None:
        return _unknown(job_or_submission_id)
    job = _decode_job(row)
    if job.type != "SUBMISSION":
        return Response("Can only get logs of submission type jobs", 400, media_type="text/plain")
    if job.driver_node_id and job.submission_id and "/" not in job.submission_id:
        for prefix in log_prefixes(scope.session, job.driver_node_id):
            key = f"{prefix}job-driver-{job.submission_id}.log"
            try:
                await anyio.to_thread.run_sync(scope.storage.size, key)
            except ObjectNotFound:
                continue  # live: a job that has printed nothing yet
            return key
    return None


async def _find(scope: DashboardScope, wanted: str) -> bytes | None:
    """By job id, then by submission id, then by a former driver of a submission, as live looks them up."""
    for column in ("job_id", "submission_id"):
        found = await scope.snapshot.table("jobs").select(
            [make_filter(JOBS, column, "=", wanted)], limit=_ALL, detail=True, browser=scope.browser
        )
        for row in found.rows:
            if column == "job_id" or _decode_job(row).submission_id == wanted:
                return row
    former = await scope.snapshot.doc(f"jobs/of_driver/{wanted}")
    return redact_rows([former])[0] if former and scope.browser else former


def _unknown(wanted: str) -> Response:
    return Response(f"Job {wanted} does not exist", 404, media_type="text/plain")


def _logs(storage: Storage, key: str) -> Iterator[bytes]:
    """The file as one JSON text, piece by piece."""
    yield b'{"logs":"'
    for text in _lines(storage, key):
        yield _encode(text)[1:-1]
    yield b'"}'


def _lines(storage: Storage, key: str) -> Iterator[str]:
    """Line ends become newlines, as when live reads it."""
    decode = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True).decode
    for piece in storage.stream(key):
        yield decode(piece)
    yield decode(b"", final=True)
