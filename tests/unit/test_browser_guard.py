"""What other sites' pages may not do, and by which names the server is reached."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.browser_guard import BrowserGuard
from api.host_names import HostNames, is_loopback
from shared.settings import ApiSettings

SAME = {"sec-fetch-site": "same-origin"}
CROSS = {"sec-fetch-site": "cross-site"}


async def _answer(request: Request) -> Response:
    return PlainTextResponse(request.method)


def _client(host_names: str = "", listening_on: str = "127.0.0.1") -> httpx.AsyncClient:
    names = HostNames.of(ApiSettings(host_names=host_names, host=listening_on))
    route = Route("/{path:path}", _answer, methods=["GET", "POST", "DELETE"])
    app = Starlette(routes=[route], middleware=[Middleware(BrowserGuard, names=names)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080")


async def _status(method: str, headers: dict[str, str], path: str = "/sessions/a/b/c/d", **names: str) -> int:
    async with _client(**names) as client:
        answer = await client.request(method, path, headers=headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code >= 400:
        assert answer.json()["code"] == {403: "cross_site", 421: "unknown_host"}[answer.status_code]
    return answer.status_code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        (SAME, 200),
        ({"sec-fetch-site": "none"}, 200),
        (CROSS, 403),
        # A page of another port or sub-domain is another site's, too, as far as changes go.
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://localhost:8080"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:9090"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "https://history.example", "x-forwarded-host": "history.example"}, 200),
        (CROSS | {"authorization": "Bearer x"}, 200),
        (CROSS | {"authorization": "Basic x"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_changes_are_for_our_own_pages_and_programs(method: str, headers: dict[str, str], status: int) -> None:
    assert await _status(method, headers) == status


async def test_a_page_of_a_configured_name_is_ours_whatever_a_proxy_makes_of_host() -> None:
    assert await _status("DELETE", {"origin": "https://history.example:8443"}, host_names="history.example") == 200
    assert await _status("DELETE", {"origin": "https://history.example.evil"}, host_names="history.example") == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (CROSS | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
        (CROSS | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        (CROSS | {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
        (CROSS | {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
        (SAME | {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 200),
    ],
)
async def test_other_sites_may_link_here_but_embed_nothing(headers: dict[str, str], status: int) -> None:
    assert await _status("GET", headers) == status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "10.1.2.3", "localhost."])
async def test_addresses_and_loopback_names_are_always_accepted(host: str) -> None:
    assert await _status("DELETE", {"host": host}) == 200
    assert await _status("DELETE", {"host": host}, host_names="history.example", listening_on="0.0.0.0") == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_rebound_name_is_refused(method: str) -> None:
    """DNS rebinding: page and request have the same origin, only its name is not ours."""
    headers = SAME | {"host": "evil.example", "origin": "http://evil.example"}
    assert await _status(method, headers) == 421
    assert await _status(method, headers, host_names="history.example", listening_on="0.0.0.0") == 421


async def test_which_names_are_accepted() -> None:
    names = {"host_names": "history.example, *.inside.example", "listening_on": "0.0.0.0"}
    for host, status in (("History.Example:80", 200), ("a.inside.example", 200), ("inside.example", 421), ("xhistory.example", 421)):
        assert await _status("GET", {"host": host}, **names) == status, host
    assert await _status("GET", {"host": "evil.example"}, listening_on="0.0.0.0") == 200
    assert await _status("GET", {"host": "evil.example"}, host_names="*") == 200
    assert await _status("GET", {"host": "evil.example"}, "/readz") == 200


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("api", False)])
def test_which_addresses_are_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local
