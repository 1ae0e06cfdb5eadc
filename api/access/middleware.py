"""Finds out who sends a request, before anything else looks at it, and closes what has no rule.

Plain ASGI: on an answer that is cached already it costs some microseconds (`benchmarks/authorisation.py`).
"""

from __future__ import annotations

from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.caller import NOBODY, Caller, acting_as
from api.access.modes import Anyone, Authenticator
from api.access.rules import RouteRules, Rule
from api.errors import dashboard_problem, history_problem
from api.pages.navigation import is_navigation
from shared.errors import HistoryError, Unauthenticated

_PUBLIC: Rule = "public"


class Access:
    """ASGI middleware. `authenticator` is set when the app starts, in its event loop."""

    def __init__(self, app: ASGIApp, rules: RouteRules, holder: AuthenticatorHolder) -> None:
        self._app = app
        self._rules = rules
        self._holder = holder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        authenticator = self._holder.authenticator
        rule = self._rules.of(scope["method"], scope["path"])
        caller: Caller | None = None
        if rule != _PUBLIC or not authenticator.tokens:
            try:
                caller = await authenticator.caller(scope)
            except HistoryError as exc:
                await history_problem(exc, dashboard_problem)(scope, receive, send)
                return
        if isinstance(authenticator, Anyone):
            rule = rule or _PUBLIC
        if rule != _PUBLIC and (caller is None or rule is None):
            await self._refusal(scope, caller)(scope, receive, send)
            return
        caller = caller or NOBODY
        if not isinstance(authenticator, Anyone):
            structlog.contextvars.bind_contextvars(caller=caller.name)
        with acting_as(caller):
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, caller: Caller | None) -> Response:
        if caller is not None:
            return dashboard_problem(404, "not_found", f"there is no {scope['path']}")
        request = Request(scope)
        if self._holder.authenticator.tokens and scope["method"] == "GET" and is_navigation(request):
            query = scope["query_string"].decode("latin-1")
            asked = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"/login?next={quote(asked, safe='')}", 303, {"Cache-Control": "no-store", "Vary": "Accept"})
        answer = history_problem(Unauthenticated("who asks? This server wants a login, or a token it knows"), dashboard_problem)
        if self._holder.authenticator.tokens:
            answer.headers["WWW-Authenticate"] = 'Bearer realm="ray-history"'
        return answer


class AuthenticatorHolder:
    """Where the middleware, which is made before the event loop, finds what is opened in it."""

    def __init__(self) -> None:
        self.authenticator: Authenticator = Anyone()
