"""Answers that the collector stored as they were: Serve, Ray Data, and whatever else it was told to poll.

Included last: it takes every `/api` path that no other route does.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.routing import Routes
from api.dashboard.scope import DashboardScope
from shared.ray.redaction import redact

routes = Routes()
# What live shows when Serve never ran (Ray: `ServeInstanceDetails.get_empty_schema_dict`).
_NO_SERVE = b'{"controller_info":{},"proxies":{},"applications":{},"target_capacity":null}'
_encode = msgspec.json.encode


@routes.get("/api/serve/applications/")
async def show_serve_applications(_request: Request, scope: DashboardScope) -> Response:
    return answers.json_bytes(await _stored(scope, "/api/serve/applications") or _NO_SERVE)


@routes.get("/api/data/datasets/{job_id}")
async def list_datasets(request: Request, scope: DashboardScope) -> Response:
    job_id = request.path_params["job_id"]
    return answers.json_bytes(await _stored(scope, f"/api/data/datasets/{job_id}") or b'{"datasets":[]}')


@routes.get("/api/{path:path}")
async def show_stored(request: Request, scope: DashboardScope) -> Response:
    """Asked for as it was stored, or without its query."""
    path = request.path_params["path"]
    query = request.url.query
    body = await _stored(scope, f"/api/{path}?{query}") if query else None
    body = body or await _stored(scope, f"/api/{path}")
    return answers.json_bytes(body) if body else answers.not_found()


async def _stored(scope: DashboardScope, path: str) -> bytes | None:
    body = await scope.snapshot.doc(f"stored{path.rstrip('/')}")
    if body and scope.browser and b"runtime_env" in body:
        return _encode(redact(msgspec.json.decode(body)))
    return body
