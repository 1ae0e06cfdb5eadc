"""Answers that the collector stored as they were: Serve, Ray Data, and whatever else it was told to poll.

Included last: it takes every path that no other route does.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dashboard import answers
from api.dashboard.list_options import ListOptions
from api.dashboard.routing import DashboardScope, Routes
from api.snapshots.table import Page
from shared.layout import stored_endpoint
from shared.ray.redaction import redact

routes = Routes()
# What live shows when Serve never ran (Ray: `ServeInstanceDetails.get_empty_schema_dict`).
_NO_SERVE = b'{"controller_info":{},"proxies":{},"applications":{},"target_capacity":null}'
# Collectors are told to poll whole lists: spelled like the frontend's own request, or in short.
_WHOLE_LISTS = ("", "detail=1&limit=10000", "detail=true&limit=10000", "limit=10000", "detail=1")
_encode = msgspec.json.encode


@routes.get("/api/serve/applications")
async def show_serve_applications(_request: Request, scope: DashboardScope) -> Response:
    return answers.json_bytes(await stored_answer(scope, "/api/serve/applications") or _NO_SERVE)


@routes.get("/api/data/datasets/{job_id}")
async def list_datasets(request: Request, scope: DashboardScope) -> Response:
    job_id = request.path_params["job_id"]
    return answers.json_bytes(await stored_answer(scope, f"/api/data/datasets/{job_id}") or b'{"datasets":[]}')


@routes.get("/{path:path}")
async def show_stored(request: Request, scope: DashboardScope) -> Response:
    """Asked for as it was stored, or without its query."""
    body = await stored_answer(scope, "/" + request.path_params["path"], request.url.query, "")
    return answers.json_bytes(body) if body else answers.not_found()


async def stored_answer(scope: DashboardScope, path: str, *queries: str) -> bytes | None:
    """What was stored of a path with the first of these query strings that has something; JSON."""
    spellings = dict.fromkeys(spelling for query in queries or ("",) for spelling in (query, unquote(query)))
    for query in spellings:
        body = await scope.snapshot.doc(f"stored{stored_endpoint(f'{path}?{query}' if query else path)}")
        if body:
            return _encode(redact(msgspec.json.decode(body))) if scope.browser and b"runtime_env" in body else body
    return None


async def stored_page(scope: DashboardScope, path: str, options: ListOptions) -> Page | None:
    """The rows of a stored list that pass a request's filters; None when no list was stored."""
    body = await stored_answer(scope, path, *_WHOLE_LISTS)
    try:
        rows: list[dict[str, Any]] = msgspec.json.decode(body)["data"]["result"]["result"] if body else []
        passing = [row for row in rows if all(f.matches(row.get(f.column)) for f in (*options.source, *options.filters))]
    except (TypeError, KeyError, AttributeError):
        return None  # an error page, or no list
    return Page(len(rows), len(passing), [_encode(row) for row in passing[: options.limit]]) if body else None
