"""The Ray dashboard's frontend below a session's path, in front of the dashboard's own routes.

Only what the frontend is made of is answered here; everything else, and all of a live session's, is passed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import quote

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.pages.bar import with_bar
from api.pages.builds import Builds
from api.pages.files import built, own, page, read_page
from api.pages.navigation import by_accept, is_navigation, record_of, send_on
from api.pages.session_facts import SessionFacts, session_facts
from shared.errors import HistoryError
from shared.sessions import LATEST, SessionRef
from shared.settings import ApiSettings

FactsOf = Callable[[Any, SessionRef], Awaitable[SessionFacts | None]]
# From the dashboard to the server's root.
_ROOT = "../" * 6
_PREFIXES = ("static/", "speedscope-")
_ICON = "favicon.ico"


class Frontend:
    """Wraps the app that is mounted at `/sessions/{namespace}/{kind}/{name}/{session}/dashboard`. `state` is the outer app's.

    `facts` tells of a loaded session what its page is served with.
    """

    def __init__(self, dashboard: ASGIApp, state: Any, settings: ApiSettings, facts: FactsOf = session_facts) -> None:
        self._dashboard = dashboard
        self._state = state
        self._builds = Builds(settings.dashboard_dir)
        self._grafana_url = settings.grafana_url
        self._facts = facts

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
        build = self._builds.holding(path)
        if build is None:
            # It may be of the frontend of a live head of another version.
            return await own(request, "favicon.svg") if path == _ICON else None
        try:
            return await built(request, build, path, hashed=path.startswith("static/"))
        except HTTPException:
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
        try:
            facts = await self._facts(self._state, _ref(request)) if state == "loaded" else None
        except HistoryError:
            # The loading page says what is wrong.
            facts = None
        if facts is None and browsing:
            return send_on(request, "../")
        build = self._builds.of(facts.ray_version if facts else None)
        text = await anyio.to_thread.run_sync(read_page, build)
        return by_accept(page(with_bar(text, facts, _ROOT, self._grafana_url) if facts else text, self._grafana_url if build else None))


def _ref(request: Request) -> SessionRef:
    return SessionRef.of(*(request.path_params[part] for part in ("namespace", "kind", "name", "session")))
