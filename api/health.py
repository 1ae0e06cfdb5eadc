"""`/livez` and `/readz`: what orchestrators ask."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from api.documented import answer
from shared.errors import HistoryError, StorageUnavailable, StoreUnavailable
from shared.store.client import redis_errors

router = APIRouter()

_CHECK_SECONDS = 5.0


@router.head("/livez", include_in_schema=False)
@router.get("/livez", response_class=PlainTextResponse)
async def livez() -> Response:
    """This process answers."""
    return Response("ok", media_type="text/plain")


@router.head("/readz", include_in_schema=False)
@router.get("/readz", responses={503: answer("The same; `missing` is not empty")})
async def readz(request: Request) -> Response:
    """Can sessions be served? 503 names what is missing. Kubernetes may be away: loaded sessions are served all the same."""
    found: dict[str, Any] = {}
    async with anyio.create_task_group() as group:
        group.start_soon(_redis, request, found)
        group.start_soon(_storage, request, found)
    found["kubernetes"] = {"age": request.app.state.sessions.live.age} if request.app.state.sessions.live.enabled else "none"
    if request.app.state.draining.begun:
        found["draining"] = {"error": "this process ends soon"}
    missing = sorted(name for name, state in found.items() if isinstance(state, dict) and "error" in state)
    body = {"status": "not ready" if missing else "ready", "missing": missing, "checks": found}
    return JSONResponse(body, 503 if missing else 200, {"Cache-Control": "no-store"})


async def _redis(request: Request, found: dict[str, Any]) -> None:
    try:
        with redis_errors(), anyio.fail_after(_CHECK_SECONDS):
            await cast("Awaitable[bool]", request.app.state.redis.ping())
        found["redis"] = "ok"
    except (StoreUnavailable, TimeoutError) as exc:
        found["redis"] = {"error": str(exc) or "no answer in time"}


async def _storage(request: Request, found: dict[str, Any]) -> None:
    try:
        with anyio.fail_after(_CHECK_SECONDS):
            await anyio.to_thread.run_sync(request.app.state.storage.check, abandon_on_cancel=True)
        found["storage"] = "ok"
    except (StorageUnavailable, TimeoutError) as exc:
        found["storage"] = {"error": str(exc) or "no answer in time"}
    except HistoryError as exc:
        found["storage"] = {"error": str(exc)}
