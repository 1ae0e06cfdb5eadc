"""One log record per request, with a request id that every other record of it bears, too."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.draining import Draining
from api.route_names import RouteNames
from shared.metrics import REQUEST_SECONDS

log = structlog.get_logger()

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# Not known who asks, not theirs to ask, another site's page, another server's name, too much.
_REFUSED = (401, 403, 421, 429)
_QUIET = ("/livez", "/readz", "/metrics")


class RequestLog:
    """ASGI middleware. A request id of a proxy before us is kept, if it looks like one."""

    def __init__(self, app: ASGIApp, names: RouteNames, draining: Draining) -> None:
        self._app = app
        self._names = names
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given.decode() if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(b"x-request-id", request_id.encode())]
                if self._draining.begun:
                    # Whoever keeps this connection open comes back to another replica.
                    added.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            write = log.debug if scope["path"] in _QUIET else log.info
            seconds = time.perf_counter() - began
            # 0: the client left before an answer began.
            REQUEST_SECONDS.labels(scope["method"], self._names.name(scope["path"]), status).observe(seconds)
            if status in _REFUSED:
                log.info("audit", did="refused", method=scope["method"], path=scope["path"], status=status)
            write("request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 1))
            structlog.contextvars.clear_contextvars()
