"""Nothing but the live part of the API: every request goes to the live cluster that its path, or else `default/raycap`, names.

`python -m tests.live_kubernetes.proxying` serves it with the environment's settings and prints its port: a process to be measured.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.errors import problem
from api.live.service import LiveSessions
from api.websocket import WebSocketGets
from shared.errors import InvalidReference, KubernetesUnavailable
from shared.live.factory import open_live
from shared.sessions import LIVE, Session, SessionRef
from shared.settings import LiveSettings

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
ROOT = SessionRef("default", "raycluster", "raycap", LIVE)


def create_app(settings: LiveSettings) -> Starlette:
    live = LiveSessions(*open_live(settings), settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await live.start()
        yield
        await live.aclose()

    async def respond(request: Request) -> Response:
        names = [request.path_params.get(part) for part in ("namespace", "kind", "name", "session")]
        try:
            ref = SessionRef.of(*names) if all(names) else ROOT  # type: ignore[arg-type]
            cluster = await live.cluster_of(ref)
            return await live.respond(request, cluster) if cluster else PlainTextResponse("dead", 404)
        except KubernetesUnavailable as exc:
            return problem(503, exc.code, str(exc), retry_after=5)
        except InvalidReference as exc:
            return problem(400, exc.code, str(exc))

    async def running(_: Request) -> Response:
        clusters = await live.listing()
        names = await live.running(clusters)
        return PlainTextResponse("\n".join(f"{c.key} {names.get(c.key)}" for c in clusters))

    async def revived(request: Request) -> Response:
        cluster = live.revived(Session("default", "raycap", request.path_params["session"]))
        return PlainTextResponse(cluster.key if cluster else "dead")

    routes = [
        Route("/-/revived/{session}", revived),
        Route("/-/running", running),
        Route("/sessions/{namespace}/{kind}/{name}/{session}/dashboard/{path:path}", respond, methods=METHODS),
        Route("/{path:path}", respond, methods=METHODS),
    ]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(WebSocketGets)])


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)  # noqa: T201 - who started us reads it
    server = uvicorn.Server(uvicorn.Config(create_app(LiveSettings()), log_level="warning", access_log=False))
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
