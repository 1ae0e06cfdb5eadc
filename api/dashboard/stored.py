"""Answers that the collector stored as they were: Serve, Ray Data, and whatever else it was told to poll.

Included last: it takes every `/api` path that no other route does.
"""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from api.dashboard import answers
from api.dashboard.scope import DashboardScope, Scope
from shared.ray.redaction import redact

router = APIRouter()
# What live shows when Serve never ran (Ray: `ServeInstanceDetails.get_empty_schema_dict`).
_NO_SERVE = b'{"controller_info":{},"proxies":{},"applications":{},"target_capacity":null}'
_encode = msgspec.json.encode


@router.get("/api/serve/applications/")
async def show_serve_applications(scope: Scope) -> Response:
    return answers.json_bytes(await _stored(scope, "/api/serve/applications") or _NO_SERVE)


@router.get("/api/data/datasets/{job_id}")
async def list_datasets(job_id: str, scope: Scope) -> Response:
    return answers.json_bytes(await _stored(scope, f"/api/data/datasets/{job_id}") or b'{"datasets":[]}')


@router.get("/api/{path:path}")
async def show_stored(path: str, request: Request, scope: Scope) -> Response:
    """Asked for as it was stored, or without its query."""
    query = request.url.query
    body = await _stored(scope, f"/api/{path}?{query}") if query else None
    body = body or await _stored(scope, f"/api/{path}")
    return answers.json_bytes(body) if body else answers.not_found()


async def _stored(scope: DashboardScope, path: str) -> bytes | None:
    body = await scope.snapshot.doc(f"stored{path.rstrip('/')}")
    if body and scope.browser and b"runtime_env" in body:
        return _encode(redact(msgspec.json.decode(body)))
    return body
