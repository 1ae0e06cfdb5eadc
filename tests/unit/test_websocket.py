"""Websockets that only send: text in messages, refusals as HTTP answers, and no other site's page."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api.browser_guard import BrowserGuard
from api.host_names import HostNames
from api.websocket import WebSocketGets

TAIL = "/sessions/default/raycluster/raycap/latest/dashboard/api/jobs/sub/logs/tail"
_TEXT = "ü\n" * 30_000


async def _log(scope: Scope, receive: Receive, send: Send) -> None:
    """Pieces that end within a character; what was asked for is in the answer of an unknown path."""
    if scope["type"] != "http":
        await PlainTextResponse("no websocket", 404)(scope, receive, send)
        return
    request = Request(scope, receive)
    if "unknown" in scope["query_string"].decode():
        await PlainTextResponse(f"{request.method} {request.url} {sorted(request.headers)}", 404)(scope, receive, send)
        return
    body = _TEXT.encode()
    await StreamingResponse(body[begin : begin + 32_767] for begin in range(0, len(body), 32_767))(scope, receive, send)


def _scope(path: str = TAIL, query: str = "", **headers: str) -> dict[str, Any]:
    sent = {"host": "history", "accept-encoding": "gzip", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "scheme": "ws", "path": path, "root_path": "",
        "query_string": query.encode(), "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip


async def _sent(scope: Scope) -> list[Message]:
    told = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "ignored"}])
    sent: list[Message] = []

    async def receive() -> Message:
        return next(told, None) or await asyncio.Future[Message]()  # it stays until it is told all

    async def send(message: Message) -> None:
        sent.append(message)

    await WebSocketGets(BrowserGuard(_log, HostNames((), "0.0.0.0")))(scope, receive, send)
    return sent


@pytest.mark.parametrize("path", [TAIL, "/api/jobs/sub/logs/tail", "/api/jobs/sub/logs/tail/"])
async def test_the_text_comes_whole_in_messages_that_clients_take(path: str) -> None:
    accepted, *messages, closed = await _sent(_scope(path))
    assert accepted["type"] == "websocket.accept"
    assert "".join(message["text"] for message in messages) == _TEXT
    assert max(len(message["text"].encode()) for message in messages) <= 65_536
    assert closed == {"type": "websocket.close", "code": 1000}


async def test_a_refusal_is_an_http_answer_before_the_handshake() -> None:
    start, body = await _sent(_scope(query="unknown"))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
    assert body["type"] == "websocket.http.response.body"
    assert body["body"] == f"GET http://history{TAIL}?unknown ['host']".encode()
    (closed,) = await _sent(_scope(query="unknown") | {"extensions": {}})
    assert closed["type"] == "websocket.close"


@pytest.mark.parametrize("path", ["/api/jobs/sub/logs", "/sessions", "/api/jobs/a/b/logs/tail"])
async def test_nothing_else_answers_websockets(path: str) -> None:
    start, _ = await _sent(_scope(path))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://history"}, 200),
        ({"origin": "http://elsewhere"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://elsewhere", "sec_fetch_site": "cross-site", "sec_fetch_mode": "websocket"}, 403),
    ],
)
async def test_pages_of_other_sites_may_not_open_one(headers: dict[str, str], status: int) -> None:
    first = (await _sent(_scope(**headers)))[0]
    assert first.get("status", 200) == status
