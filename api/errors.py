"""Domain errors to HTTP: one table, RFC 9457 problem details with a stable `code`."""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from shared import errors

log = structlog.get_logger()

STATUS: dict[type[errors.HistoryError], int] = {
    errors.InvalidReference: 400,
    errors.InvalidQuery: 400,
    errors.ExtraMissing: 501,
    errors.JobIndexOff: 404,
    errors.JobNotFound: 404,
    errors.NoSessionChosen: 404,
    errors.SessionNotFound: 404,
    errors.SessionDeleted: 404,
    errors.ObjectNotFound: 404,
    errors.SessionIsLive: 409,
    errors.StaleGeneration: 409,
    errors.SnapshotTooLarge: 507,
    errors.NoRoom: 507,
    errors.StorageUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.StoreFull: 503,
    errors.KubernetesUnavailable: 503,
    errors.LoginUnavailable: 503,
    errors.SnapshotGone: 503,
    errors.SnapshotDamaged: 503,
    errors.RecordMissing: 503,
    errors.LoadFailed: 503,
    errors.QueueFull: 503,
    errors.TooManyStreams: 503,
    errors.TooManyRequests: 429,
    errors.Unauthenticated: 401,
    errors.LoginRefused: 401,
    errors.Forbidden: 403,
}
_RETRY_AFTER: dict[type[errors.HistoryError], float] = {errors.SnapshotGone: 1}
_RETRY_AFTER_OUTAGE = 5.0


def problem(status: int, code: str, detail: str, *, retry_after: float | None = None, **more: Any) -> Response:
    """`application/problem+json`; what is no answer yet, or no longer, is never kept by a cache."""
    headers = {"Cache-Control": "no-store"}
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def dashboard_problem(status: int, code: str, detail: str, *, retry_after: float | None = None, **more: Any) -> Response:
    """The same for a route of the Ray dashboard, with the members that Ray's own clients read of every answer.

    Ray: `StateApiClient._make_http_get_request` looks into `result` and shows `msg`, whatever the status.
    """
    return problem(status, code, detail, retry_after=retry_after, result=False, msg=detail, data={"result": None}, **more)


def history_problem(exc: errors.HistoryError, problem: Callable[..., Response] = problem) -> Response:
    """The answer for a domain error."""
    status = STATUS.get(type(exc), 500)
    if isinstance(exc, errors.LoadFailed):
        return problem(status, exc.code, str(exc), retry_after=exc.retry_after, cause=exc.cause_code)
    if isinstance(exc, errors.TooManyRequests):
        return problem(status, exc.code, str(exc), retry_after=exc.retry_after or None)
    if status >= 500:
        log.warning("request failed", code=exc.code, error=str(exc))
    return problem(status, exc.code, str(exc), retry_after=_RETRY_AFTER.get(type(exc), _RETRY_AFTER_OUTAGE) if status == 503 else None)


def _methods(request: Request) -> list[str]:
    """Those of all routes of a path: Starlette names the first one's."""
    found: set[str] = set()
    for route in getattr(request.app.state, "own_routes", request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", ()))
    return sorted(found)


def add_error_handlers(app: FastAPI) -> None:
    """Every error of this app becomes problem details; a defect says no more than that it is one."""

    async def history(_: Request, exc: Exception) -> Response:
        return history_problem(exc if isinstance(exc, errors.HistoryError) else errors.HistoryError(str(exc)))

    async def http(request: Request, exc: Exception) -> Response:
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        phrase = HTTPStatus(status).phrase
        answer = problem(status, phrase.lower().replace(" ", "_"), str(getattr(exc, "detail", phrase)))
        answer.headers.update(getattr(exc, "headers", None) or {})
        if status == 405:
            answer.headers["Allow"] = ", ".join(_methods(request))
        return answer

    async def invalid(_: Request, exc: Exception) -> Response:
        found = exc.errors() if isinstance(exc, RequestValidationError) else []
        detail = "; ".join(f"{'.'.join(str(part) for part in error['loc'][1:])}: {error['msg']}" for error in found)
        return problem(400, "invalid_request", detail or "the request is not valid")

    async def defect(_: Request, exc: Exception) -> Response:
        log.error("defect", exc_info=exc)
        answer = problem(500, "internal_error", "an error of this server, recorded in its log")
        # Sent from outside of every middleware.
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    app.add_exception_handler(errors.HistoryError, history)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, defect)
