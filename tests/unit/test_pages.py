"""The pages' routes: who gets which page, what a browser may load, and that nothing outside is served."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from api.overview import routes as overview
from api.pages import Frontend, router
from api.pages.session_facts import SessionFacts
from shared.errors import SessionNotFound, StoreUnavailable
from shared.sessions import SessionRef
from shared.settings import ApiSettings
from tests.in_process import in_process

NEWEST = "session_2026-11-23_19-00-40_785172_1"
SESSION = f"/sessions/default/raycluster/raycap/{NEWEST}"
LATEST = "/sessions/default/raycluster/raycap/latest"
STATIC = Path(__file__).parents[2] / "api" / "pages" / "static"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
# What a Ray dashboard with --proxy-server-url makes of it.
BY_RAY = BROWSER | {"Content-Type": "application/json"}


class _Sessions:
    """The sessions service, as far as pages ask it."""

    def __init__(self) -> None:
        self.answer: str | Exception = "loaded"

    async def status(self, ref: SessionRef) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"state": self.answer, "session": {"session": NEWEST if ref.session == "latest" else ref.session}}


@pytest.fixture
def build(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("outside of the build")
    for name, text in {
        "index.html": '<html><head><script src="./static/js/main.1.js"></script></head><body><div id="root"></div></body></html>',
        "favicon.ico": "icon",
        "static/js/main.1.js": "run()",
        "speedscope-1.5.3/index.html": "<p>flames</p>",
    }.items():
        file = tmp_path / "build" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "build" / "static" / "link").symlink_to(tmp_path / "secret")
    return tmp_path / "build"


async def _facts(_state: Any, ref: SessionRef) -> SessionFacts:
    return SessionFacts(ref, "raycap", "2.55.1")


def _app(dashboard_dir: str) -> FastAPI:
    """As `api.app` puts it together; the dashboard's routes answer 418."""
    app = FastAPI()
    app.state.sessions = _Sessions()
    app.include_router(overview.router)
    app.include_router(router)
    settings = ApiSettings(dashboard_dir=dashboard_dir)
    frontend = Frontend(PlainTextResponse("the dashboard's own", 418), app.state, settings, facts=_facts)
    app.router.routes.append(Mount("/sessions/{namespace}/{kind}/{name}/{session}/dashboard", app=frontend))
    return app


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://history", headers=BROWSER)


@pytest.fixture
def app() -> FastAPI:
    return _app("")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(app) as client:
        yield client


@pytest.fixture
def app_with_build(build: Path) -> FastAPI:
    return _app(str(build))


@pytest.fixture
async def client_with_build(app_with_build: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(app_with_build) as client:
        yield client


class _Addresses(HTMLParser):
    """Everything that a page names, and scripts or styles within it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.named: list[str] = []
        self.inline: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside = tag if tag in ("script", "style") else ""
        for name, value in attributes:
            if name in ("src", "href", "action") and value:
                self.named.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("address", ["/", "/select_cluster", SESSION + "/", SESSION + "/overview", SESSION + "/dashboard/"])
async def test_a_page_names_only_what_is_served_here(client: httpx.AsyncClient, address: str) -> None:
    page = await client.get(address)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    addresses = _Addresses(page.text)
    assert addresses.inline == []
    assert all(not re.match(r"[a-z]+:|//|/", named) for named in addresses.named), "relative, so that any path prefix will do"
    own = [named for named in addresses.named if "pages/" in named]
    assert len(own) >= 4
    for named in own:
        assert (await client.get(page.url.join(named))).status_code == 200, named


async def test_the_first_page_is_of_jobs_and_leads_to_the_sessions(client: httpx.AsyncClient) -> None:
    page = await client.get("/?status=FAILED")
    assert "jobs.js" in page.text
    assert "sessions" in _Addresses(page.text).named
    former = await client.get("/?q=a%20b&state=failed")
    assert (former.status_code, former.headers["location"]) == (303, "sessions?q=a%20b&state=failed")


async def test_the_list_of_sessions_is_a_page_for_browsers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_process(tmp_path, monkeypatch) as server:
        page = await server.client.get("/sessions?q=a", headers=BROWSER)
        assert "sessions.js" in page.text
        assert page.headers["Vary"] == "Accept"
        listed = await server.client.get("/sessions?q=a")
        assert (listed.json()["sessions"], listed.headers["Vary"]) == ([], "Accept")
        spelled = await server.client.get("/sessions/?q=a", headers=BROWSER)
        assert str(spelled.url.join(spelled.headers["location"])) == "http://localhost:8080/sessions?q=a"
        in_front = await server.client.get("/sessions?q=a", headers=BY_RAY)
        assert '<a id="on" href="select_cluster?q=a">' in in_front.text


@pytest.mark.parametrize("script", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
async def test_a_script_imports_only_what_is_served(client: httpx.AsyncClient, script: Path) -> None:
    answer = await client.get(f"/pages/{script.name}")
    assert answer.headers["content-type"].startswith("text/javascript")
    for imported in re.findall(r'from "\./([^"]+)"', answer.text):
        assert (await client.get(f"/pages/{imported}")).status_code == 200
    assert not re.search(r"https?://|innerHTML|eval\(", answer.text)


async def test_what_a_browser_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/pages/style.css")
    again = await client.get("/pages/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"


async def test_others_are_sent_from_the_page_to_the_load_status(client: httpx.AsyncClient) -> None:
    answer = await client.get(SESSION + "/", headers={"Accept": "application/json"})
    assert answer.status_code == 307
    assert str(answer.url.join(answer.headers["location"])) == "http://history" + SESSION


@pytest.mark.parametrize(
    ("address", "said", "status"),
    [
        (SESSION + "/", SessionNotFound("none"), 404),
        (SESSION + "/", StoreUnavailable("down"), 503),
        ("/sessions/default/pod/raycap/latest/", "loaded", 400),
        ("/sessions/default/raycluster/raycap/yesterday/", "loaded", 400),
    ],
)
async def test_the_page_s_status_says_what_is_wrong(
    app: FastAPI, client: httpx.AsyncClient, address: str, said: str | Exception, status: int
) -> None:
    app.state.sessions.answer = said
    page = await client.get(address)
    assert page.status_code == status
    assert "session.js" in page.text
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("state", ["absent", "queued", "loading", "failed", SessionNotFound("none")], ids=str)
async def test_a_browser_waits_for_the_load_on_the_loading_page(app: FastAPI, client: httpx.AsyncClient, state: str | Exception) -> None:
    app.state.sessions.answer = state
    answer = await client.get(SESSION + "/dashboard/")
    assert answer.status_code == 303
    assert str(answer.url.join(answer.headers["location"])) == f"http://history{SESSION}/"


@pytest.mark.parametrize(
    ("address", "real"),
    [("/", "/"), ("/?redirect=%2F", "/?redirect=%2F"), ("/dashboard/", "/dashboard/"), ("/dashboard/?x=1", "/dashboard/")],
)
@pytest.mark.parametrize("state", ["loaded", "absent"])
async def test_a_page_s_address_names_the_session_and_not_the_latest(app: FastAPI, address: str, real: str, state: str) -> None:
    """Who shares it shares what is seen. Browsers keep what is behind the `#`."""
    app.state.sessions.answer = state
    async with _client(app) as client:
        answer = await client.get(LATEST + address)
        assert answer.status_code == 303
        assert str(answer.url.join(answer.headers["location"])) == f"http://history{SESSION}{real}"
        program = await client.get(f"{LATEST}/dashboard/", headers={"Accept": "*/*"})
        assert program.status_code != 303, "programs go on with the address that they were given"


@pytest.mark.parametrize("address", ["/", "/favicon.ico"])
async def test_a_ray_dashboard_in_front_has_its_own(client: httpx.AsyncClient, address: str) -> None:
    assert (await client.get(address, headers=BY_RAY)).status_code == 404


@pytest.mark.parametrize(("address", "on"), [("/dashboard/", "../"), ("/dashboard", "dashboard/")])
async def test_a_ray_dashboard_in_front_is_not_redirected(app: FastAPI, client: httpx.AsyncClient, address: str, on: str) -> None:
    """It would follow by itself, and show the other page under this address."""
    app.state.sessions.answer = "queued"
    page = await client.get(SESSION + address, headers=BY_RAY)
    assert page.status_code == 200
    assert f'<a id="on" href="{on}">' in page.text
    (script,) = [named for named in _Addresses(page.text).named if named.endswith("go-on.js")]
    assert str(page.url.join(script)) == "http://history/pages/go-on.js"


async def test_the_build_is_served_below_a_session(client_with_build: httpx.AsyncClient) -> None:
    page = await client_with_build.get(SESSION + "/dashboard/")
    assert "main.1.js" in page.text
    assert page.headers["cache-control"] == "no-cache"
    script = await client_with_build.get(page.url.join("./static/js/main.1.js"))
    assert (script.status_code, script.text) == (200, "run()")
    assert "immutable" in script.headers["cache-control"]
    assert (await client_with_build.get(page.url.join("./favicon.ico"))).text == "icon"
    assert (await client_with_build.get(page.url.join("speedscope-1.5.3/index.html"))).text == "<p>flames</p>"
    head = await client_with_build.head(SESSION + "/dashboard/")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_session_has_the_pages_of_its_own_version(build: Path) -> None:
    """And the files of any of them, as their names tell their content."""
    builds = build.parent / "builds"
    for version in ("2.53.0", "2.55.1", "2.60.0"):
        page = builds / version / "index.html"
        (page.parent / "static" / "js").mkdir(parents=True)
        page.write_text(f"<head></head><body>of {version}</body>")
        (page.parent / "static" / "js" / f"main.{version}.js").write_text(version)
    async with _client(_app(str(builds))) as client:
        assert "of 2.55.1" in (await client.get(SESSION + "/dashboard/")).text
        assert (await client.get(f"{SESSION}/dashboard/static/js/main.2.53.0.js")).text == "2.53.0"


async def test_the_bar_and_its_scripts_come_with_the_page_and_not_with_its_file(build: Path, client_with_build: httpx.AsyncClient) -> None:
    before = (build / "index.html").read_text()
    page = await client_with_build.get(SESSION + "/dashboard/")
    assert page.text.index("pages/dashboard.js") < page.text.index("main.1.js"), "it runs first"
    assert '<body><section id="ray-history-bar"' in page.text
    for named in _Addresses(page.text).named:
        assert (await client_with_build.get(page.url.join(named))).status_code == 200, named
    assert (build / "index.html").read_text() == before


async def test_a_live_session_has_the_pages_of_its_own_head(app_with_build: FastAPI, client_with_build: httpx.AsyncClient) -> None:
    app_with_build.state.sessions.answer = "live"
    assert (await client_with_build.get(SESSION + "/dashboard/")).status_code == 418
    assert (await client_with_build.get(SESSION + "/dashboard/static/js/of_another_version.js")).status_code == 418


@pytest.mark.parametrize("path", ["api/version", "nodes?view=summary", "static/nope.js", "index.html", "asset-manifest.json"])
async def test_what_the_frontend_is_not_made_of_is_passed_on(client_with_build: httpx.AsyncClient, path: str) -> None:
    assert (await client_with_build.get(f"{SESSION}/dashboard/{path}")).status_code == 418


async def test_what_is_wrong_is_told_to_programs_by_the_dashboard_s_own_errors(
    app_with_build: FastAPI, client_with_build: httpx.AsyncClient
) -> None:
    app_with_build.state.sessions.answer = SessionNotFound("none")
    assert (await client_with_build.get(f"{SESSION}/dashboard/", headers={"Accept": "*/*"})).status_code == 418


async def test_what_is_not_read_is_passed_on(client_with_build: httpx.AsyncClient) -> None:
    assert (await client_with_build.post(f"{SESSION}/dashboard/")).status_code == 418


@pytest.mark.parametrize(
    "path", ["static/%2e%2e/%2e%2e/secret", "static/../../secret", "static/link", "static/js", "static/%00", "static/" + "x" * 5000]
)
async def test_nothing_but_the_build_s_files_is_served(client_with_build: httpx.AsyncClient, path: str) -> None:
    answer = await client_with_build.get(f"{SESSION}/dashboard/{path}")
    assert answer.status_code in (404, 418)
    assert "outside" not in answer.text


@pytest.mark.parametrize("address", ["/pages/nope.js", "/pages/..%2Froutes.py", "/pages/%2e%2e", SESSION + "/dashboard/static/api/app.py"])
async def test_without_a_build_there_are_only_our_pages(client: httpx.AsyncClient, address: str) -> None:
    assert (await client.get(address)).status_code in (404, 418)


async def test_there_is_an_icon_everywhere(client: httpx.AsyncClient) -> None:
    for address in ("/favicon.ico", SESSION + "/dashboard/favicon.ico"):
        assert (await client.get(address)).headers["content-type"] == "image/svg+xml"


async def test_the_dashboard_s_address_needs_no_slash(client: httpx.AsyncClient) -> None:
    answer = await client.get(SESSION + "/dashboard")
    assert str(answer.url.join(answer.headers["location"])) == f"http://history{SESSION}/dashboard/"
