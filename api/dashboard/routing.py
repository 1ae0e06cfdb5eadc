"""Routes of the dashboard: a list of them for each module that answers some, all of them as one app, and what they answer from.

Plain Starlette: what FastAPI would add for each request (checked parameters, dependencies) takes as long as ten answers, and live has its
own ideas of what is wrong with a parameter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from api.dashboard import answers
from shared.sessions import Session
from shared.snapshots.reader import SnapshotReader
from shared.storage.port import Storage

# Ray: `dashboard/optional_utils.is_browser_request`.
_BROWSER_HEADERS = frozenset(
    {
        b"referer",
        b"origin",
        b"sec-fetch-mode",
        b"sec-fetch-dest",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"access-control-request-method",
        b"access-control-request-headers",
    }
)


@dataclass(frozen=True, slots=True)
class DashboardScope:
    """`browser`: values of `env_vars` must not be shown (Ray: `should_redact_runtime_env`). `grafana_url`: "" for none."""

    session: Session
    generation: str
    snapshot: SnapshotReader
    storage: Storage
    browser: bool
    grafana_url: str = ""


def passed_on_by_ray(headers: list[tuple[bytes, bytes]]) -> bool:
    """Does a Ray dashboard pass on this GET (`ray start --head --proxy-server-url`)?

    It gives every request a content type, which no client gives a GET (Ray: `HttpServerDashboardHead.proxy_server_middleware`).
    """
    return (b"content-type", b"application/json") in headers


def is_browser(headers: list[tuple[bytes, bytes]]) -> bool:
    """Ray's guess whether a request came from a browser; names are lower-case."""
    return any(name in _BROWSER_HEADERS or (name == b"user-agent" and value.startswith(b"Mozilla")) for name, value in headers)


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


class DashboardRoutes:
    """All routes as an ASGI app. What a route raises is for the caller; a path that live does not know gets live's answer for it.

    A `/` at the end of a path means nothing, as with KubeRay's server.
    """

    def __init__(self, modules: Iterable[Routes]) -> None:
        self.routes = [route for routes in modules for route in routes]
        self._router = Router(self.routes, redirect_slashes=False, default=_unknown)
        self._beginnings = {beginning(route.path) for route in self.routes if isinstance(route, Route)}

    def may_know(self, path: str) -> bool:
        """False: no route begins like this path. Cheaper than trying them all."""
        return beginning(path) in self._beginnings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/")}
        await self._router(scope, receive, send)


def beginning(path: str) -> str:
    """The first segment of a path."""
    return path.split("/", 2)[1] if "/" in path else ""


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    await answers.not_found()(scope, receive, send)
