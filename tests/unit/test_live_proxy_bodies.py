"""A head's short error answers through the API server's proxy: read to be explained, and passed on as they came."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message, Scope

from api.live.proxy import LiveProxy
from shared.live.heads import Heads
from shared.live.port import LiveCluster
from shared.settings import LiveSettings

CLUSTER = LiveCluster("default", "raycap", "u", datetime(2026, 11, 23, tzinfo=UTC), head_service="raycap-head-svc")
NO_APPLICATION = b'{"detail":"no such application"}'
NO_ENDPOINTS = b'{"kind":"Status","message":"no endpoints available"}'


class _ThroughApiServer:
    through_api_server = True
    extensions: dict[str, str] = {}  # noqa: RUF012 - a stand-in

    def url(self, _cluster: LiveCluster, path: str, _query: str = "") -> httpx.URL:
        return httpx.URL("http://head" + path)

    def needs_credentials(self, _cluster: LiveCluster) -> bool:
        return False


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes, *, cut: bool) -> None:
        self._body = body
        self._cut = cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[:10]
        if self._cut:
            raise httpx.RemoteProtocolError("peer closed connection")
        yield self._body[10:]


async def _passed(
    body: bytes, *, encoding: str = "", cut: bool = False, method: str = "GET", **more: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that a client gets for a head's 404."""
    headers = {"content-type": "application/json", "content-length": str(len(body)), **({"content-encoding": encoding} if encoding else {})}

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            return httpx.Response(404, headers=headers | more, stream=_Body(b"" if method == "HEAD" else body, cut=cut))

    scope: Scope = {
        "type": "http",
        "asgi": {"spec_version": "2.4"},
        "method": method,
        "path": "/api/x",
        "raw_path": b"/api/x",
        "query_string": b"",
        "headers": [(b"accept-encoding", b"gzip")],
        "root_path": "",
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    proxy = LiveProxy(cast("Heads", _ThroughApiServer()), LiveSettings(), httpx.AsyncClient(transport=Transport()))
    answer: Any = await proxy.respond(Request(scope, receive), CLUSTER)
    await answer(scope, receive, send)
    got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], got, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_the_heads_own_error_keeps_its_encoding_and_length(encoding: str) -> None:
    body = gzip.compress(NO_APPLICATION) if encoding else NO_APPLICATION
    status, headers, got = await _passed(body, encoding=encoding)
    assert (status, got) == (404, body)
    assert headers["content-length"] == str(len(got))
    assert headers.get("content-encoding", "") == encoding


@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_the_api_servers_word_is_explained_however_it_is_packed(encoding: str) -> None:
    status, headers, got = await _passed(gzip.compress(NO_ENDPOINTS) if encoding else NO_ENDPOINTS, encoding=encoding)
    assert status == 502
    assert b"no endpoints available" in got
    assert "content-encoding" not in headers


async def test_what_claims_to_be_packed_and_is_not_is_passed_on_as_it_is() -> None:
    status, headers, got = await _passed(NO_APPLICATION, encoding="gzip")
    assert (status, headers["content-encoding"], got) == (404, "gzip", NO_APPLICATION)


async def test_an_error_that_breaks_off_is_no_answer() -> None:
    status, _, got = await _passed(NO_APPLICATION, cut=True)
    assert status == 502
    assert b"broke off" in got


async def test_head_has_no_body_whatever_its_length_says() -> None:
    status, headers, got = await _passed(NO_APPLICATION, method="HEAD")
    assert (status, headers["content-length"], got) == (404, str(len(NO_APPLICATION)), b"")
