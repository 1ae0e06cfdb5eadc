"""Refuses streams of load events beyond what a process serves, before anything is looked up for them.

A refusal by the route costs a millisecond of the event loop, most of it for finding the route: hundreds that come at once would hold up
everybody else for as long.
"""

from __future__ import annotations

import re

from starlette.datastructures import State
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.limits import CallerLimits
from api.errors import problem
from shared.errors import TooManyStreams

_STREAM = re.compile(r"/sessions/[^/]+/[^/]+/[^/]+/[^/]+/events")
_RETRY_AFTER = 5.0


class StreamLimit:
    """ASGI middleware. `state.limits` is set when the app starts."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and _STREAM.fullmatch(scope["path"]):
            limits: CallerLimits = self._state.limits
            try:
                limits.check_streams()
            except TooManyStreams as exc:
                await problem(503, exc.code, str(exc), retry_after=_RETRY_AFTER)(scope, receive, send)
                return
        await self._app(scope, receive, send)
