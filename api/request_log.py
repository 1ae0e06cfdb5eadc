"""One log record and one metric per request, with a request id that every other record of it bears, too.

Metrics call a request by the pattern of its route, never by its path, of which there are endlessly many.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable
from functools import lru_cache

import structlog
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.rules import LONGEST_KEPT
from api.draining import Draining
from shared.metrics import REQUEST_SECONDS

_IN_SESSION = re.compile(r"/sessions/[^/]+/[^/]+/[^/]+/[^/]+/dashboard(/.*)?")
_PAGES = re.compile(r"/(static/.*|speedscope-.*|favicon\.\w+)")
OTHER = "other"


class RouteNames:
    """`ours`: the outer app's routes; `dashboard`: the dashboard's, which are there at the root and below each session."""

    def __init__(self, ours: Iterable[BaseRoute], dashboard: Iterable[BaseRoute]) -> None:
        self._ours = _patterns(ours)
        self._dashboard = _patterns(dashboard)
        self._known: Callable[[str], str] = lru_cache(maxsize=4096)(self._find)

    def name(self, path: str) -> str:
        return (self._known if len(path) <= LONGEST_KEPT else self._find)(path)

    def _find(self, path: str) -> str:
        inside = _IN_SESSION.fullmatch(path)
        if inside:
            path = inside[1] or "/"
            if path == "/" or _PAGES.fullmatch(path):
                return "dashboard pages"
        for pattern, name in [] if inside else self._ours:
            if pattern.fullmatch(path):
                return name
        for pattern, name in self._dashboard:
            if pattern.fullmatch(path.rstrip("/")):
                return name
        return OTHER


def _patterns(routes: Iterable[BaseRoute]) -> list[tuple[re.Pattern[str], str]]:
    """The named routes in the order in which they are tried."""
    found = []
    for route in routes:
        pattern, name = getattr(route, "path_regex", None), getattr(route, "path", None)
        if pattern is not None and isinstance(name, str):
            found.append((pattern, name))
    return found


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
