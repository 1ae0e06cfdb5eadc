"""Request heads have a size and a time, and connections without a request a number."""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http_protocol import http_protocol
from shared.settings import ApiSettings

_REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def _app(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def _serving(app: ASGIApp = _app, **settings: Any) -> AsyncIterator[int]:
    protocol = http_protocol(ApiSettings(**settings))
    config = uvicorn.Config(app, http=protocol, lifespan="off", log_level="critical", timeout_keep_alive=30)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    server.force_exit = True
    running = asyncio.create_task(server.serve([listening]))
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def _said(port: int, *parts: bytes, until: bytes = b"") -> bytes:
    """What the server says to these bytes, until it closes the connection or has said `until`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while not (until and until in got) and (chunk := await reader.read(65536)):
                got += chunk
    except ConnectionError:
        pass
    finally:
        writer.close()
    return got


async def _slow_log(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "early"})
    await asyncio.sleep(0.5)
    await send({"type": "websocket.send", "text": "late"})
    await send({"type": "websocket.close", "code": 1000})


async def test_a_websocket_is_no_head_that_comes_too_slowly() -> None:
    handshake = (
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with _serving(_slow_log, head_timeout=0.1) as port:
        got = await _said(port, handshake, until=b"late")
    assert b" 101 " in got
    assert b"late" in got
    assert b"408" not in got


def _header(size: int) -> bytes:
    return b"GET / HTTP/1.1\r\nx: " + b"a" * size


@pytest.mark.parametrize(
    "parts",
    [
        (_header(5_000) + b"\r\n\r\n",),
        (b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2_000 + b"\r\n",),
    ],
    ids=["whole", "path", "many"],
)
async def test_a_head_that_is_too_large_is_refused(parts: tuple[bytes, ...]) -> None:
    async with _serving(head_bytes=4096) as port:
        got = await _said(port, *parts)
    assert got.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in got.lower()


async def test_an_endless_head_is_refused_long_before_its_end() -> None:
    """Who goes on to send may lose the answer to it."""
    async with _serving(head_bytes=4096) as port:
        got = await _said(port, _header(0), *[b"a" * 1000] * 300)
    assert got.startswith(b"HTTP/1.1 431 ") or got == b""


async def test_endless_trailers_end_the_connection() -> None:
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: "
    async with _serving(head_bytes=4096) as port:
        assert b"200" not in await _said(port, chunked, *[b"a" * 1000] * 300)


async def test_bodies_and_many_requests_have_no_such_bound() -> None:
    body = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n"
    async with _serving(head_bytes=4096) as port:
        assert (await _said(port, body, *[b"a" * 1_000_000] * 3, until=b"ok")).startswith(b"HTTP/1.1 200")
        pipelined = await _said(port, _REQUEST * 400, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert pipelined.count(b"HTTP/1.1 200") == 401


@pytest.mark.parametrize("half", [b"GET / HTTP/1.1\r\nhost", b"\r\n", _REQUEST + b"GET / HT"], ids=["head", "line end", "second head"])
async def test_half_a_head_has_a_time(half: bytes) -> None:
    async with _serving(head_timeout=0.2) as port:
        got = await _said(port, half)
    assert b"HTTP/1.1 408 " in got


async def test_the_rest_of_a_body_that_nobody_reads_has_a_time() -> None:
    async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 405, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    protocol = http_protocol(ApiSettings(head_timeout=0.2))
    config = uvicorn.Config(refuses, http=protocol, lifespan="off", log_level="critical", timeout_keep_alive=30)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve([listening]))
    got = await _said(listening.getsockname()[1], b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\n", b"a", b"a")
    server.should_exit = True
    await running
    assert got.startswith(b"HTTP/1.1 405 ")


async def test_of_too_many_connections_the_oldest_goes_and_the_newest_is_served() -> None:
    async with _serving(idle_connections=10) as port:
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        for _, writer in waiting:
            writer.write(b"GET / HTTP/1.1\r\nx: ")
        assert (await _said(port, _REQUEST, until=b"ok")).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(waiting[0][0].read(), 20) == b""
        waiting[9][1].write(b"y\r\n\r\n")
        assert (await asyncio.wait_for(waiting[9][0].readline(), 20)).startswith(b"HTTP/1.1 200")
        for _, writer in waiting:
            writer.close()


def test_it_goes_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(http_protocol(ApiSettings(head_bytes=2000)))).keywords["limits"].size == 2000
