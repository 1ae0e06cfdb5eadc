"""Logins, rights by action, limits of a caller, and what the log says of all that."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fakeredis import FakeAsyncRedis

from api.access.caller import ACTIONS, AllRights, Caller, NoRights, acting_as, current_caller, may, visible_namespaces
from api.access.limits import CallerLimits
from api.access.modes import TrustedProxy, open_authenticator
from api.access.rights_file import GrantedRights, RightsFile
from shared.errors import SessionNotFound, SettingsError, TooManyRequests, TooManyStreams
from shared.sessions import SessionRef
from shared.settings import ApiSettings, AuthSettings, LoadSettings, LogSettings, RedisSettings, Settings, StorageSettings
from shared.store.keys import Keyspace
from shared.store.logins import Logins
from tests.in_process import SESSION, InProcess, add_session, in_process

TOKEN = "a-long-and-random-token"
BEARER = {"authorization": f"Bearer {TOKEN}"}
BROWSER = {"accept": "text/html", "sec-fetch-site": "same-origin"}


def _file(directory: Path, rights: str = '{ team-a = ["see", "load", "evict"] }', more: str = "") -> dict[str, Any]:
    file = directory / "rights.toml"
    file.write_text(f'[tokens.ci]\nsha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"\nrights = {rights}\n{more}')
    return {"auth": "token", "auth_file": str(file)}


def _settings(**auth: Any) -> Settings:
    return Settings(StorageSettings(), RedisSettings(), LoadSettings(), ApiSettings(), LogSettings(), auth=AuthSettings(**auth))


async def test_outside_of_a_request_nothing_is_allowed() -> None:
    assert current_caller().name == ""
    assert [await may("team-a", action) for action in ACTIONS] == [False] * 4
    assert await visible_namespaces(["team-a"]) == frozenset()


async def test_rights_are_the_sum_of_grants() -> None:
    rights = GrantedRights([{"a": frozenset({"see"})}, {"a": frozenset({"see", "load"}), "*": frozenset()}, {"b": frozenset({"see"})}])
    assert [await rights.may("a", action) for action in ACTIONS] == [True, True, False, False]
    assert [await rights.may("b", action) for action in ACTIONS] == [True, False, False, False]
    assert await rights.visible(frozenset("abc")) == {"a", "b"}
    everywhere = GrantedRights([{"*": frozenset({"see"})}])
    assert await everywhere.visible(frozenset("abc")) == set("abc")
    assert not await everywhere.may("a", "evict")


async def test_who_may_do_anything_in_a_namespace_may_see_it(tmp_path: Path) -> None:
    caller = RightsFile(_file(tmp_path, '{ a = ["evict"], b = [] }')["auth_file"]).granted().of_token(TOKEN)
    assert caller is not None
    assert [await caller.rights.may("a", action) for action in ACTIONS] == [True, False, True, False]
    assert not await caller.rights.may("b", "see")


def test_a_revoked_token_ends_when_the_file_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    rights = RightsFile(_file(tmp_path)["auth_file"], lambda: now)
    (tmp_path / "rights.toml").write_text("")
    with monkeypatch.context() as patched:

        def away(*_: object) -> str:
            raise OSError(5, "Input/output error")

        patched.setattr(Path, "read_text", away)
        now += 2
        assert rights.granted().of_token(TOKEN) is not None
    now += 2
    assert rights.granted().of_token(TOKEN) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tokens.x", "rights.toml"),
        ("[tokens.x]\nsha256 = 'abc'\nrights = {}", "tokens.x.sha256"),
        ("[tokens.x]\nrights = {}", "sha256"),
        ("[users.x]\nrights = { a = ['read'] }", "read"),
        ("[people.x]\nrights = {}", "people"),
    ],
)
def test_a_wrong_file_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rights.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=f"RAY_HISTORY_AUTH_FILE.*{said}"):
        RightsFile(str(file))


@pytest.mark.parametrize(
    ("auth", "variable"),
    [
        ({"auth": "token"}, "RAY_HISTORY_AUTH_FILE"),
        ({"auth": "token", "auth_file": "/nowhere"}, "RAY_HISTORY_AUTH_FILE"),
        ({"auth": "proxy"}, "RAY_HISTORY_AUTH_PROXIES"),
        ({"auth": "proxy", "auth_proxies": "proxy.example"}, "RAY_HISTORY_AUTH_PROXIES"),
        ({"auth": "kubernetes"}, "RAY_HISTORY_KUBERNETES"),
    ],
)
def test_a_mode_without_what_it_needs_stops_the_start(auth: dict[str, Any], variable: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}: "):
        open_authenticator(_settings(**auth), Logins(FakeAsyncRedis(), Keyspace()))


@pytest.mark.parametrize(
    ("address", "headers", "name"),
    [
        ("10.1.2.3", {"x-forwarded-user": "alice"}, "alice"),
        ("::ffff:10.1.2.3", {"x-forwarded-user": "alice"}, "alice"),
        ("10.2.0.1", {"x-forwarded-user": "alice"}, None),
        ("", {"x-forwarded-user": "alice"}, None),
        ("10.1.2.3", {}, None),
        ("10.1.2.3", {"x-forwarded-user": " "}, None),
        ("10.1.2.3", {"x-forwarded-user": "a\tb"}, None),
    ],
)
async def test_only_the_listed_proxies_are_believed(address: str, headers: dict[str, str], name: str | None) -> None:
    proxy = TrustedProxy(AuthSettings(auth="proxy", auth_proxies="10.1.0.0/16, ::1"))
    scope = {"client": (address, 1), "headers": [(n.encode(), v.encode()) for n, v in headers.items()]}
    caller = await proxy.caller(scope)
    assert (caller.name if caller else None) == name


async def test_groups_of_a_proxys_user_count(tmp_path: Path) -> None:
    file = tmp_path / "rights.toml"
    file.write_text('[groups.ml]\nrights = { ml = ["see"] }\n[groups."*"]\nrights = { all = ["see"] }\n')
    proxy = TrustedProxy(AuthSettings(auth="proxy", auth_proxies="10.0.0.1", auth_file=str(file)))
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-user", b"a"), (b"x-forwarded-groups", b"ops, ml")]}
    caller = await proxy.caller(scope)
    assert caller is not None
    assert await caller.rights.visible(frozenset({"ml", "all", "other"})) == {"ml", "all"}


async def _log_in(client: httpx.AsyncClient, token: str, target: str = "/") -> httpx.Response:
    return await client.post("/login", data={"token": token, "next": target}, headers=BROWSER)


async def test_a_browser_logs_in_and_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_process(tmp_path, monkeypatch, _file(tmp_path)) as server:
        sent_on = await server.client.get("/sessions?q=a", headers=BROWSER)
        assert (sent_on.status_code, sent_on.headers["location"]) == (303, "/login?next=%2Fsessions%3Fq%3Da")
        form = await server.client.get(sent_on.headers["location"], headers=BROWSER)
        assert 'name="next" value="/sessions?q=a"' in form.text
        wrong = await _log_in(server.client, "another")
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
        right = await _log_in(server.client, TOKEN, "/sessions?q=a")
        assert (right.status_code, right.headers["location"]) == (303, "/sessions?q=a")
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "secure" not in cookie
        assert (await server.client.get("/sessions", headers=BROWSER)).status_code == 200
        assert (await server.client.get("/caller")).json() == {"name": "ci", "auth": "token"}
        assert "logged in as ci" in (await server.client.get("/login", headers=BROWSER)).text
        await server.client.post("/logout", headers=BROWSER)
        assert (await server.client.get("/sessions")).status_code == 401


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
async def test_a_login_leads_to_this_site_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    async with in_process(tmp_path, monkeypatch, _file(tmp_path)) as server:
        assert (await _log_in(server.client, TOKEN, target)).headers["location"] == "/"
        secure = await server.client.post("/login", data={"token": TOKEN}, headers=BROWSER | {"x-forwarded-proto": "https"})
        assert "secure" in secure.headers["set-cookie"].lower()
        endless = await server.client.post("/login", content=b"token=" + b"a" * 20_000, headers=BROWSER)
        assert endless.status_code == 413


async def test_a_right_to_see_is_none_to_load_or_evict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch, _file(tmp_path, '{ team-a = ["see"] }')) as server:
        for method, path in (
            ("GET", f"/enter_cluster/{ref}"),
            ("POST", f"/sessions/{ref}/load"),
            ("POST", f"/sessions/{ref}/load?force=true"),
            ("DELETE", f"/sessions/{ref}"),
            ("GET", f"/sessions/{ref}/dashboard/api/v0/tasks"),
        ):
            answer = await server.client.request(method, path, headers=BEARER)
            assert (path, answer.status_code, answer.json()["code"]) == (path, 403, "forbidden")
        assert (await server.client.get(f"/sessions/{ref}", headers=BEARER)).json()["state"] == "absent"
        assert server.queue.sent == []


async def test_who_may_not_load_sees_what_another_has_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, "team-a", "seen")
    loader = f'[tokens.loader]\nsha256 = "{hashlib.sha256(b"loader").hexdigest()}"\nrights = {{ team-a = ["load"] }}\n'
    auth = _file(tmp_path, '{ team-a = ["see"] }', loader)
    async with in_process(tmp_path, monkeypatch, auth) as server:
        begun = await server.client.post(f"/sessions/{ref}/load", headers={"authorization": "Bearer loader"})
        assert begun.status_code == 202
        joined = await server.client.get(f"/enter_cluster/{ref}", headers=BEARER)
        assert (joined.status_code, joined.json()["result"]) == (202, "loading")
        assert len(server.queue.sent) == 1


async def test_without_cookie_sessions_the_root_knows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch, cookie_sessions=False) as server:
        entered = await server.client.get(f"/enter_cluster/{ref}")
        assert (entered.status_code, "set-cookie" in entered.headers) == (202, False)
        cookies = f"cluster_name=seen; cluster_namespace=team-a; session_name={SESSION}"
        answer = await server.client.get("/api/v0/tasks", headers={"cookie": cookies})
        assert (answer.status_code, answer.json()["code"]) == (404, "no_session_chosen")


async def _load(server: InProcess, *refs: str) -> list[httpx.Response]:
    return [await server.client.post(f"/sessions/{ref}/load") for ref in refs]


async def test_one_caller_starts_so_many_loads_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = [add_session(tmp_path, "team-a", f"c{number}") for number in range(3)]
    async with in_process(tmp_path, monkeypatch, loads_per_minute=2) as server:
        first, second, third, joined = await _load(server, *refs, refs[0])
        assert [answer.status_code for answer in (first, second, third, joined)] == [202, 202, 429, 202]
        assert third.json()["code"] == "too_many_requests"
        assert 1 <= int(third.headers["retry-after"]) <= 30
        assert len(server.queue.sent) == 2


async def test_one_caller_lists_so_often_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_process(tmp_path, monkeypatch, lists_per_minute=2) as server:
        answers = [await server.client.get(path) for path in ("/sessions", "/clusters", "/sessions")]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert "retry-after" in answers[2].headers


def test_limits_are_each_callers_own() -> None:
    limits = CallerLimits(ApiSettings(lists_per_minute=1, event_streams=2))
    for name in ("a", "b"):
        with acting_as(Caller(name, NoRights())):
            limits.note_listing()
            with pytest.raises(TooManyRequests):
                limits.note_listing()
    limits.begin_stream()
    limits.begin_stream()
    with pytest.raises(TooManyStreams):
        limits.begin_stream()
    limits.end_stream()
    limits.begin_stream()


async def test_streams_are_bounded_and_counted_until_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch, event_streams=1) as server:
        server.app.state.limits.begin_stream()
        full = await server.client.get(f"/sessions/{ref}/events")
        assert (full.status_code, full.json()["code"], "retry-after" in full.headers) == (503, "too_many_streams", True)
        server.app.state.limits.end_stream()
        # Of a session that is not loaded the record is told once, and the stream goes on while it is loaded: here it ends with the process.
        server.app.state.draining.begun = True
        for _ in range(3):
            assert (await server.client.get(f"/sessions/{ref}/events")).status_code == 200


async def test_a_stream_too_many_is_refused_before_anything_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch, _file(tmp_path), event_streams=1) as server:
        server.app.state.limits.begin_stream()
        no_stream = await server.client.get(f"/sessions/{ref}/dashboard/events", headers=BEARER)
        assert no_stream.json()["code"] == "loading"
        # Without a service no route answers.
        monkeypatch.setattr(server.app.state, "sessions", None)
        for asked in (ref, f"{ref[:-1]}2"):
            refused = await server.client.get(f"/sessions/{asked}/events", headers=BEARER)
            assert (refused.status_code, refused.json()["code"], "retry-after" in refused.headers) == (503, "too_many_streams", True)
        assert (await server.client.get(f"/sessions/{ref}/events")).status_code == 401


async def test_followers_of_a_load_share_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, "team-a", "seen")
    async with in_process(tmp_path, monkeypatch) as server:
        await _load(server, ref)
        service = server.app.state.sessions
        reads: list[SessionRef] = []
        status = service._status

        async def counted(asked: SessionRef) -> Any:
            reads.append(asked)
            return await status(asked)

        monkeypatch.setattr(service, "_status", counted)
        with acting_as(Caller("a", AllRights())):
            following = [service.follow(SessionRef.parse(ref)) for _ in range(20)]
            assert {record["state"] for record in await asyncio.gather(*map(anext, following))} == {"queued"}
            assert len(reads) == 1
            await service.evict(SessionRef.parse(ref))
            assert {record["state"] for record in await asyncio.gather(*map(anext, following))} == {"absent"}
        with acting_as(Caller("b", NoRights())), pytest.raises(SessionNotFound):
            await anext(service.follow(SessionRef.parse(ref)))


async def test_the_log_says_who_did_what_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = add_session(tmp_path, "team-a", "seen")
    hidden = add_session(tmp_path, "team-b", "hidden")
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as records:
        async with in_process(tmp_path, monkeypatch, _file(tmp_path)) as server:
            await server.client.get(f"/enter_cluster/{ref}", headers=BEARER)
            await server.client.delete(f"/sessions/{ref}", headers=BEARER)
            await server.client.get(f"/sessions/{hidden}", headers=BEARER)
            await server.client.get("/sessions", headers={"authorization": f"Bearer {TOKEN}x"})
            await server.client.get(f"/sessions?token={TOKEN}", headers={"cookie": f"ray_history_token={TOKEN}"})
            await _log_in(server.client, TOKEN)
            await _log_in(server.client, TOKEN + "x")
    audited = [(record.get("caller"), record["did"], record.get("ref")) for record in records if record["event"] == "audit"]
    assert audited[:5] == [
        ("ci", "loads", ref),
        ("ci", "entered", ref),
        ("ci", "evicted", ref),
        ("ci", "refused", hidden),
        (None, "refused", None),
    ]
    assert TOKEN not in json.dumps(records, default=repr)
    assert hashlib.sha256(TOKEN.encode()).hexdigest() not in json.dumps(records, default=repr)
