"""Routes of the dashboard, a list of them for each module that answers some.

Plain Starlette: what FastAPI would add for each request (checked parameters, dependencies) takes as long as ten answers, and live has its
own ideas of what is wrong with a parameter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.dashboard.scope import DashboardScope

Endpoint = Callable[[Request, DashboardScope], Awaitable[Response]]
# In a request's scope: its DashboardScope.
DASHBOARD = "dashboard"


class Routes(list[BaseRoute]):
    """Endpoints by path, in the order in which they are tried. An endpoint gets the request and what it answers from."""

    def get(self, path: str) -> Callable[[Endpoint], Endpoint]:
        return self._register(path, "GET")

    def post(self, path: str) -> Callable[[Endpoint], Endpoint]:
        return self._register(path, "POST")

    def _register(self, path: str, *methods: str) -> Callable[[Endpoint], Endpoint]:
        def register(endpoint: Endpoint) -> Endpoint:
            async def answer(request: Request) -> Response:
                return await endpoint(request, cast("DashboardScope", request.scope[DASHBOARD]))

            self.append(Route(path, answer, methods=methods, name=endpoint.__name__))
            return endpoint

        return register
