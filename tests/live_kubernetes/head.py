"""A stand-in for the dashboard of a live head: the recorded answers of a real one, its version, token auth, and what a test adds."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.live_kubernetes.serving import serving

BREAK = "break"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
# Ray's own: http_server_head.py does not ask for a token here.
PUBLIC = ("/", "/api/authentication_mode", "/api/authenticate", "/api/gcs_healthz")
CHUNK = bytes(range(256)) * 256
_DROPPED = ("content-length", "transfer-encoding", "connection", "date", "server")


@dataclass(frozen=True)
class Seen:
    """A request as it reached the head."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Head:
    """`session` is what `/api/version` says; None: the dashboard does not know it yet."""

    session: str | None = None
    token: str | None = None
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    hang: bool = False
    fail_with: int | None = None
    version_asked: int = 0
    first_fail: int = 0
    routes: dict[str, Callable[[Request], Response]] = field(default_factory=dict)
    sent: int = 0
    released: int = 0
    tails: dict[str, list[str]] = field(default_factory=dict)
    tails_open: int = 0

    def replay(self, directory: Path) -> None:
        """Answer as the dashboard did whose answers were recorded in `directory`, and run its session."""
        self.session = directory.name
        for file in sorted(directory.glob("[0-9]*.json")):
            answer = json.loads(file.read_text())
            if answer["method"] == "GET" and "sec-fetch-site" not in {name.lower() for name in answer["req_headers"]}:
                self.answers.setdefault(answer["url"].removesuffix("?"), answer)

    @contextmanager
    def running(self) -> Iterator[Head]:
        """Listen; again on the same port after an end: a restart."""
        routes = [Route("/{path:path}", self._handle, methods=METHODS), WebSocketRoute("/{path:path}", self._tail)]
        with serving(Starlette(routes=routes), self.port) as self.port:
            yield self

    async def _handle(self, request: Request) -> Response:
        raw = request.scope["raw_path"].decode()
        query = request.scope["query_string"].decode()
        self.seen.append(Seen(request.method, raw, query, dict(request.headers), await request.body()))
        while self.hang:
            await asyncio.sleep(0.05)
            if await request.is_disconnected():
                break
        if self.fail_with:
            return Response(f"{self.fail_with}: as told", self.fail_with)
        refused = self._refusal(request, raw)
        if refused:
            return refused
        if raw in self.routes:
            return self.routes[raw](request)
        if raw == "/api/version":
            return self._version()
        if raw == "/stream":
            return StreamingResponse(self._stream(int(request.query_params["bytes"])), media_type="text/plain")
        if raw == "/sse":
            return StreamingResponse(self._events(int(request.query_params["count"])), media_type="text/event-stream")
        return self._recorded(f"{raw}?{query}" if query else raw)

    async def _tail(self, socket: WebSocket) -> None:
        """Messages of `tails`; each after the first waits for the test to raise `released`, and so does the end. BREAK is a crash."""
        path, query = socket.scope["raw_path"].decode(), socket.scope["query_string"].decode()
        self.seen.append(Seen("WEBSOCKET", path, query, dict(socket.headers)))
        if refused := self._refusal(socket, path):
            await socket.send_denial_response(refused)
            return
        if path not in self.tails:
            await socket.send_denial_response(Response("404: Not Found", 404, media_type="text/plain"))
            return
        await socket.accept()
        self.tails_open += 1
        gone = asyncio.ensure_future(socket.receive())
        try:
            for number, text in enumerate([*self.tails[path], None]):
                while self.released < number and not gone.done():  # noqa: ASYNC110 - raised from the test's thread
                    await asyncio.sleep(0.005)
                if gone.done():
                    break
                if text is None:
                    await socket.close()
                elif text == BREAK:
                    await socket.close(1011)
                    break
                else:
                    await socket.send_text(text)
        except WebSocketDisconnect:
            pass
        finally:
            gone.cancel()
            self.tails_open -= 1

    def _refusal(self, request: HTTPConnection, path: str) -> Response | None:
        """Ray's middleware of RAY_AUTH_MODE=token, http_token_authentication.py."""
        if self.token is None or path in PUBLIC:
            return None
        given = request.headers.get("authorization") or request.headers.get("x-ray-authorization")
        if not given and (cookie := request.cookies.get("ray-authentication-token")):
            given = f"Bearer {cookie}"
        if not given:
            return Response("Unauthorized: Missing authentication token", 401, media_type="text/plain")
        if given != f"Bearer {self.token}":
            return Response("Forbidden: Invalid authentication token", 403, media_type="text/plain")
        return None

    def _version(self) -> Response:
        self.version_asked += 1
        if self.version_asked <= self.first_fail:
            return Response("500 Internal Server Error", 500)
        body = {"version": "4", "ray_version": "2.60.0", "ray_commit": "b7f4259e944b", "session_name": self.session}
        return JSONResponse({name: value for name, value in body.items() if value is not None})

    def _recorded(self, url: str) -> Response:
        answer = self.answers.get(url)
        if answer is None:
            return Response("404: Not Found", 404, media_type="text/plain")
        body = base64.b64decode(answer["body_b64"]) if "body_b64" in answer else answer["body"].encode()
        headers = {name: value for name, value in answer["headers"].items() if name.lower() not in _DROPPED}
        return Response(body, answer["status"], headers)

    async def _stream(self, size: int) -> AsyncIterator[bytes]:
        while size > 0:
            chunk = CHUNK[:size]
            yield chunk
            await asyncio.sleep(0)  # let a disconnect be noticed
            size -= len(chunk)
            self.sent += len(chunk)

    async def _events(self, count: int) -> AsyncIterator[str]:
        """Each event after the first waits for the test to raise `released`."""
        for number in range(count):
            while self.released < number:  # noqa: ASYNC110 - raised from the test's thread
                await asyncio.sleep(0.005)
            yield f"data: {number}\n\n"
