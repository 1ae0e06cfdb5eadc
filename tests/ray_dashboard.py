"""Ray's dashboard as `ray start --head --proxy-server-url=URL` runs it: everything goes to URL first, and to its own routes where that has nothing.

Written from what `HttpServerDashboardHead.proxy_server_middleware` of Ray 2.60 did in front of this server. It follows redirects itself (their cookies are
lost), gives every request a content type, cannot unpack zstd, and answers from its own cluster at 404 and at whatever goes wrong. Its own
routes here: the frontend's build, and a cluster without anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tests.waiting import wait_until

_DROPPED = {"content-encoding", "content-length", "host", "connection", "keep-alive", "te", "trailers", "upgrade", "transfer-encoding"}
_NEVER_PASSED_ON = ("/api/gcs_healthz", "/usage_stats_enabled", "/api/healthz", "/api/local_raylet_healthz")
_UNPACKED_ALREADY = {"transfer-encoding", "content-encoding", "content-length"}
_TIMEOUT = 30.0


class RayDashboard:
    """An ASGI app. `fell_back` lists the paths that it answered itself."""

    def __init__(self, proxy_server_url: str, build: Path) -> None:
        self._url = proxy_server_url
        self._build = build
        self.fell_back: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        await (await self._passed_on(request) or self._own(request.url.path))(scope, receive, send)

    async def _passed_on(self, request: Request) -> Response | None:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if path.startswith(_NEVER_PASSED_ON):
            return None
        headers = [(name, value) for name, value in request.headers.items() if name not in _DROPPED]
        if "content-type" not in request.headers:
            headers.append(("content-type", "application/json"))
        async with httpx.AsyncClient(follow_redirects=True, timeout=_TIMEOUT, trust_env=False, verify=False) as client:
            answer = await client.request(request.method, self._url + path, headers=headers, content=await request.body())
        if answer.status_code == 404 or answer.headers.get("content-encoding") == "zstd":
            return None
        response = Response(answer.content, answer.status_code)
        kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower().decode() not in _UNPACKED_ALREADY]
        response.raw_headers = [(b"content-length", str(len(answer.content)).encode()), *kept]
        return response

    def _own(self, path: str) -> Response:
        self.fell_back.append(path)
        file = (self._build / ("index.html" if path == "/" else path.lstrip("/"))).resolve()
        if file.is_file() and file.is_relative_to(self._build.resolve()):
            return FileResponse(file)
        if path.startswith(("/api/v0/platform_events", "/enter_cluster", "/select_cluster")):
            return PlainTextResponse("404: Not Found", 404)
        return JSONResponse(
            {"result": True, "msg": "of its own cluster", "data": {"result": {"total": 0, "result": []}, "summary": [], "actors": {}}}
        )


@contextmanager
def ray_dashboard(proxy_server_url: str, build: Path) -> Iterator[tuple[str, RayDashboard]]:
    """Its address, and the app."""
    app = RayDashboard(proxy_server_url, build)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the played dashboard")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", app
    finally:
        server.should_exit = True
        thread.join()
