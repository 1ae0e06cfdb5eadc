"""Routes of the dashboard: a list of them for each module that answers some, all of them as one, and what they answer from.

Plain Starlette: what FastAPI would add for each request (checked parameters, dependencies) takes as long as ten answers, and live has its
own ideas of what is wrong with a parameter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope

from api.dashboard import answers
from api.snapshots.reader import SnapshotReader
from shared.sessions import Session
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


class Routes(list[Route]):
    """Endpoints by path, in the order in which they are tried. An endpoint gets the request and what it answers from."""

    def get(self, path: str) -> Callable[[Endpoint], Endpoint]:
        return self._register(path, "GET")

    def post(self, path: str) -> Callable[[Endpoint], Endpoint]:
        return self._register(path, "POST")

    def _register(self, path: str, *methods: str) -> Callable[[Endpoint], Endpoint]:
        def register(endpoint: Endpoint) -> Endpoint:
            self.append(Route(path, endpoint, methods=methods, name=endpoint.__name__))
            return endpoint

        return register


class DashboardRoutes:
    """All routes. A `/` at the end of a path means nothing, as with KubeRay's server."""

    def __init__(self, modules: Iterable[Routes]) -> None:
        self.routes = [route for routes in modules for route in routes]
        self._beginnings = {beginning(route.path) for route in self.routes}

    def may_know(self, path: str) -> bool:
        """False: no route begins like this path. Cheaper than trying them all."""
        return beginning(path) in self._beginnings

    async def respond(self, scope: Scope, receive: Receive, dashboard: DashboardScope) -> Response:
        """The endpoint's response, of which nothing has been sent; a path or method that live does not know gets live's answer for it.

        Raises what the endpoint raises.
        """
        if scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/")}
        allowed: set[str] = set()
        for route in self.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                endpoint = cast("Endpoint", found["endpoint"])
                return await endpoint(Request({**scope, **found}, receive), dashboard)
            if match is Match.PARTIAL:
                allowed |= route.methods or set()
        if allowed:
            return answers.wrong_method(allowed)
        return answers.not_found()


def beginning(path: str) -> str:
    """The first segment of a path."""
    return path.split("/", 2)[1] if "/" in path else ""
