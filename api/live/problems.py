"""RFC 9457 bodies for what only a gateway can say: the head of a live cluster cannot be reached, or refuses us."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

RETRY_AFTER = 5


def problem(status: int, code: str, detail: str, *, headers: dict[str, str] | None = None) -> Response:
    """`code` is stable: head_unreachable, head_timeout, head_unauthorized, head_forbidden, head_busy, method_not_allowed, cross_site."""
    extra = {"cache-control": "no-store", **(headers or {})}
    if status in (502, 503, 504):
        extra["retry-after"] = str(RETRY_AFTER)
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    return JSONResponse(body, status, extra, media_type="application/problem+json")
