"""Every route of the routing table, in every mode of the login, for every kind of caller: generated, so that a new route is in it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

import api.app
from api import health, metrics_page
from api.access import login, provider_login
from api.access.rules import RULES, rule_of
from api.compare import routes as compare
from api.export import routes as export
from api.jobs import routes as jobs
from api.overview import routes as overview
from api.pages import router as pages
from api.sessions import routes as sessions
from shared.jobs import SessionJobs, job_of_row, pack
from shared.sessions import Session
from shared.settings import LiveSettings
from tests.in_process import SESSION, InProcess, add_session, in_process
from tests.live_kubernetes.api_server import ApiServer
from tests.openid_provider import Provider

MODES = ("none", "token", "proxy", "kubernetes", "oidc")
CALLERS = ("nobody", "other", "right", "revoked")
ROUTERS = (
    health.router,
    metrics_page.router,
    sessions.router,
    jobs.router,
    overview.router,
    compare.router,
    export.router,
    login.router,
    provider_login.router,
    pages,
)
PATH = f"/sessions/team-a/raycluster/seen/{SESSION}/dashboard"
COOKIES = {"cluster_name": "seen", "cluster_namespace": "team-a", "session_name": SESSION}
UNSEEN = ("unauthenticated", "forbidden", "session_not_found")
# What shows what the caller may see, and nothing else.
LISTS = ("/clusters", "/sessions", "/jobs")
OF_ONE_JOB = "/jobs/{submission_id}"
# Streams until the load ends, which here is never.
ENDLESS = "/events"
ID_TOKENS: dict[str, str] = {}


def _own_routes() -> set[tuple[str, str]]:
    """(method, pattern) of all that is ours; of GET and HEAD one."""
    found = [route for router in ROUTERS for route in router.routes]
    return {
        (method, route.path)
        for route in found
        for method in getattr(route, "methods", ()) or ()
        if method != "HEAD" and isinstance(route, Route)
    }


def _dashboard_routes() -> list[tuple[str, str]]:
    routes = [route for module in api.app._DASHBOARD for route in module.routes]
    return sorted(
        {(method, route.path) for route in routes if isinstance(route, Route) for method in route.methods or () if method != "HEAD"}
    )


def _filled(pattern: str) -> str:
    values = {"namespace": "team-a", "kind": "raycluster", "name": "seen", "session": SESSION, "file": "style.css", "path:path": "api/x"}
    for name, value in values.items():
        pattern = pattern.replace("{" + name + "}", value)
    while "{" in pattern:
        before, _, rest = pattern.partition("{")
        pattern = before + "x" + rest.partition("}")[2]
    return pattern


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _rights(directory: Path) -> str:
    everything = '["see", "load", "evict", "live"]'
    file = directory / "rights.toml"
    file.write_text(
        f'[tokens.right]\nsha256 = "{_hash("right")}"\nrights = {{ team-a = {everything} }}\n'
        f'[tokens.other]\nsha256 = "{_hash("other")}"\nrights = {{ team-b = {everything} }}\n'
        f"[users.right]\nrights = {{ team-a = {everything} }}\n[users.other]\nrights = {{ team-b = {everything} }}\n"
    )
    return str(file)


@contextmanager
def _kubernetes(directory: Path, mode: str) -> Iterator[LiveSettings | None]:
    if mode != "kubernetes":
        yield None
        return
    with ApiServer(users={"right": "right", "other": "other"}).running() as server:
        server.grants = {
            (user, verb, namespace) for user, namespace in (("right", "team-a"), ("other", "team-b")) for verb in ("get", "delete")
        }
        yield LiveSettings(kubernetes="kubeconfig", kubeconfig=server.kubeconfig(directory), kubernetes_qps=1000, kubernetes_burst=1000)


@contextmanager
def _openid(mode: str, rights: str) -> Iterator[dict[str, Any]]:
    """Settings of that mode. Callers bear ID tokens then, which end: that revokes them."""
    if mode != "oidc":
        yield {}
        return
    with Provider().running() as provider:
        ID_TOKENS.update({caller: provider.id_token(caller) for caller in ("right", "other")})
        ID_TOKENS["revoked"] = provider.id_token("right", exp=int(time.time()) - 600)
        yield provider.settings(rights)


@asynccontextmanager
async def _running(mode: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    bucket = directory / "bucket"
    add_session(bucket, "team-a", "seen")
    add_session(bucket, "team-b", "others")
    auth = {"auth": mode, "auth_file": _rights(directory), "auth_proxies": "127.0.0.0/8"}
    with _kubernetes(directory, mode) as live, _openid(mode, auth["auth_file"]) as oidc:
        auth |= oidc
        async with in_process(bucket, monkeypatch, auth, live, loads_per_minute=0, lists_per_minute=0) as server:
            await _index_job(server)
            yield server


async def _index_job(server: InProcess) -> None:
    """One job of the session that not everybody may see, submitted as what `_filled` writes."""
    session, keys = Session("team-a", "seen", SESSION), server.app.state.keyspace.job_index
    entry = pack(SessionJobs(session.to_dict(), [job_of_row({"submission_id": "x", "status": "FAILED"})]))
    await server.app.state.redis.hset(keys.entries, session.key, entry)
    await server.app.state.redis.zadd(keys.changes, {session.key: 1})


def _headers(mode: str, caller: str) -> dict[str, str]:
    if caller == "nobody" or mode == "none":
        return {}
    if mode == "proxy":
        # Whom the proxy does not name any more, it does not let pass: nobody then.
        return {"x-forwarded-user": "" if caller == "revoked" else caller}
    return {"authorization": f"Bearer {ID_TOKENS[caller] if mode == 'oidc' else caller}"}


async def _ask(server: InProcess, method: str, path: str, headers: dict[str, str], *, cookies: bool = False) -> httpx.Response:
    cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in COOKIES.items())} if cookies else {}
    return await server.client.request(method, path, headers=headers | cookie)


def _code(answer: httpx.Response) -> str:
    kind = answer.headers.get("content-type", "")
    return str(answer.json()["code"]) if kind == "application/problem+json" else ""


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    routes = _own_routes()
    assert len(routes) > 20
    assert {f"{method} {path}" for method, path in routes if rule_of(method, path) is None} == set()
    known = {f"{method} {path}" for method, path in routes} | {f"GET {path}" for path in ("/docs", "/openapi.json", "/docs-files")}
    known |= {"GET /docs/oauth2-redirect"}
    assert {rule for rule in RULES if rule not in known and f"{rule}/" not in known} == set()


async def test_the_table_is_the_apps_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the app serves is what the matrix is made of: a router that is included and not tried here would be found out."""
    async with _running("none", tmp_path, monkeypatch) as server:
        document = (await server.client.get("/openapi.json")).json()
    listed = {path for _, path in _own_routes()}
    assert set(document["paths"]) <= listed
    assert len([route for route in server.app.routes if type(route).__name__ == "_IncludedRouter"]) == len(ROUTERS)


@pytest.mark.parametrize("mode", MODES)
async def test_our_own_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    async with _running(mode, tmp_path, monkeypatch) as server:
        for method, pattern in sorted(_own_routes(), key=lambda route: (route[0] == "DELETE", route)):
            if pattern.endswith(ENDLESS):
                continue
            rule = rule_of(method, pattern)
            for caller in CALLERS:
                cell = (mode, method, pattern, rule, caller)
                answer = await _ask(server, method, _filled(pattern), _headers(mode, caller), cookies=True)
                # A file is no file before its session is loaded, which here never happens.
                waits = pattern.endswith(("/export", "/overview")) and _code(answer) == "loading"
                assert answer.status_code < 500 or waits, (cell, answer.text)
                known = mode == "none" or caller in ("right", "other")
                if rule == "public":
                    assert _code(answer) not in UNSEEN, cell
                elif not known:
                    assert (answer.status_code, _code(answer)) == (401, "unauthenticated"), cell
                elif rule == "caller":
                    shown = mode == "none" or caller == "right"
                    if pattern == "/compare":
                        # Which sessions is not said here; those that one may not see are not there.
                        assert (answer.status_code, _code(answer)) == (400, "invalid_request"), cell
                        continue
                    if pattern == OF_ONE_JOB and not shown:
                        assert (answer.status_code, _code(answer)) == (404, "job_not_found"), cell
                    else:
                        assert answer.status_code < 300, cell
                    assert ("team-a" in answer.text) is (shown and pattern.rstrip("/") in (*LISTS, OF_ONE_JOB)), cell
                elif mode == "none" or caller == "right":
                    assert _code(answer) not in UNSEEN, (cell, answer.text)
                elif answer.is_redirect:
                    # To the same path with or without a slash: it says nothing of what is there.
                    assert SESSION in answer.headers["location"] or answer.headers["location"] == "dashboard/", cell
                else:
                    assert (answer.status_code, _code(answer)) == (404, "session_not_found"), cell


@pytest.mark.parametrize("mode", MODES)
async def test_the_dashboards_routes_by_path_and_by_cookies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    routes = _dashboard_routes()
    assert len(routes) > 30
    async with _running(mode, tmp_path, monkeypatch) as server:
        for method, pattern in routes:
            for prefix in (PATH, ""):
                for caller in CALLERS:
                    cell = (mode, method, prefix + pattern, caller)
                    answer = await _ask(server, method, prefix + _filled(pattern), _headers(mode, caller), cookies=not prefix)
                    if mode != "none" and caller in ("nobody", "revoked"):
                        assert (answer.status_code, _code(answer)) == (401, "unauthenticated"), cell
                    elif mode == "none" or caller == "right":
                        assert _code(answer) == "loading", (cell, answer.text)
                    else:
                        gone = 410 if pattern == "/api/version" else 404
                        assert (answer.status_code, _code(answer)) == (gone, "session_not_found"), cell


@pytest.mark.parametrize("mode", MODES[1:])
async def test_not_allowed_looks_like_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """The same answer, but for the names in it, to a caller without rights as to one with them when there is nothing."""
    paths = [_filled(pattern) for method, pattern in _own_routes() if method == "GET" and "{session}" in pattern]
    paths += [f"{PATH}/api/v0/tasks", f"{PATH}/nodes", f"{PATH}/", f"{PATH}/api/version"]
    async with _running(mode, tmp_path, monkeypatch) as server:
        for path in paths:
            for accept in ("*/*", "text/html"):
                refused = await server.client.get(path, headers=_headers(mode, "other") | {"accept": accept})
                absent = await server.client.get(path.replace("/seen/", "/gone/"), headers=_headers(mode, "right") | {"accept": accept})
                assert refused.status_code == absent.status_code, path
                assert refused.text.replace("/seen/", "/gone/") == absent.text, path
                differing = ("x-request-id", "location", "content-length", "etag", "last-modified")
                assert {n: v for n, v in refused.headers.items() if n not in differing} == {
                    n: v for n, v in absent.headers.items() if n not in differing
                }, path


async def test_a_route_without_a_rule_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.access.rules.RULES", {rule: needs for rule, needs in RULES.items() if rule != "GET /clusters"})
    async with _running("token", tmp_path, monkeypatch) as server:
        closed = await server.client.get("/clusters", headers=_headers("token", "right"))
        open_still = await server.client.get("/sessions", headers=_headers("token", "right"))
    assert (closed.status_code, _code(closed), open_still.status_code) == (404, "not_found", 200)


async def test_a_token_that_is_taken_out_of_the_file_is_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _running("token", tmp_path, monkeypatch) as server:
        file = tmp_path / "rights.toml"
        assert (await server.client.get("/sessions", headers=_headers("token", "right"))).status_code == 200
        rest = file.read_text().replace(_hash("right"), _hash("another"))
        file.write_text(rest + "\n")
        monkeypatch.setattr("api.access.rights_file._LOOKED_AT_EVERY", 0.0)
        assert (await server.client.get("/sessions", headers=_headers("token", "right"))).status_code == 401
        file.write_text("[tokens.right")
        assert (await server.client.get("/sessions", headers=_headers("token", "another"))).status_code == 200


async def test_a_thousand_requests_are_two_reviews_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = tmp_path / "bucket"
    ref = add_session(bucket, "team-a", "seen")
    with ApiServer(users={"right": "right"}, grants={("right", "get", "team-a")}).running() as server:
        live = LiveSettings(kubernetes="kubeconfig", kubeconfig=server.kubeconfig(tmp_path))
        async with in_process(bucket, monkeypatch, {"auth": "kubernetes"}, live) as running:
            began = time.monotonic()
            for _ in range(500):
                for path in ("/sessions", f"/sessions/{ref}"):
                    assert (await running.client.get(path, headers=_headers("kubernetes", "right"))).status_code == 200
            minutes = 1 + int((time.monotonic() - began) / 60)
            assert 2 <= len(server.reviews) <= 2 * minutes
            evicting = await running.client.delete(f"/sessions/{ref}", headers=_headers("kubernetes", "right"))
            assert (evicting.status_code, evicting.json()["code"]) == (403, "forbidden")
            server.fail_with = 500
            unknown = await running.client.get("/sessions", headers={"authorization": "Bearer new"})
            assert (unknown.status_code, unknown.json()["code"]) == (503, "kubernetes_unavailable")
            assert (await running.client.get("/sessions", headers=_headers("kubernetes", "right"))).status_code == 200
