"""The Ray dashboard's frontend below a session's path, in front of the dashboard's own routes.

Only what the frontend is made of is answered here; everything else, and all of a live session's, is passed on.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.pages.files import built, has_build, own
from api.pages.navigation import by_accept, is_navigation, record_of, send_on
from shared.sessions import LATEST
from shared.settings import ApiSettings

_PREFIXES = ("static/", "speedscope-")
_ICON = "favicon.ico"


class Frontend:
    """Wraps the app that is mounted at `/sessions/{namespace}/{kind}/{name}/{session}/dashboard`. `state` is the outer app's."""

    def __init__(self, dashboard: ASGIApp, state: Any, settings: ApiSettings) -> None:
        self._dashboard = dashboard
        self._state = state
        self._directory = settings.dashboard_dir

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._response(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        await (response or self._dashboard)(scope, receive, send)

    async def _response(self, scope: Scope) -> Response | None:
        """None: not ours to answer."""
        path = cast("str", scope["path"]).removeprefix(scope.get("root_path", "")).removeprefix("/")
        if path and path != _ICON and not path.startswith(_PREFIXES):
            return None
        request = Request(scope)
        if path == "":
            return await self._index(request)
        if not has_build(self._directory):
            return await own(request, "favicon.svg") if path == _ICON else None
        try:
            return await built(request, self._directory, path, hashed=path.startswith("static/"))
        except HTTPException:
            # The frontend of a live head of another version.
            return None

    async def _index(self, request: Request) -> Response | None:
        record, status = await record_of(self._state.sessions, request.path_params)
        state = record.get("state")
        browsing = is_navigation(request)
        if status == 200 and browsing and request.path_params["session"] == LATEST:
            return send_on(request, f"../../{quote(record['session']['session'])}/dashboard/")
        if state == "live" or (status != 200 and not browsing):
            return None
        if state != "loaded" and browsing:
            return send_on(request, "../")
        if has_build(self._directory):
            return by_accept(await built(request, self._directory, "index.html"))
        return by_accept(await own(request, "no-dashboard.html"))
