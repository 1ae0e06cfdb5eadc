"""The proxy to a live head, with a stand-in that replays a recorded dashboard, over loopback and through the API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import RedirectResponse, Response
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.live_kubernetes.head import BREAK
from tests.live_kubernetes.objects import token_secret
from tests.live_kubernetes.proxying import create_app
from tests.live_kubernetes.serving import serving, unused_port
from tests.live_kubernetes.world import FORMER, RUNNING, World, world
from tests.waiting import wait_until

PATH_SCOPE = f"/sessions/default/raycluster/raycap/{RUNNING}/dashboard"
SCOPES = {"root": "", "path": PATH_SCOPE}
ACCESS = ["service", "apiserver"]


@pytest.fixture
def answers(recorded: Path) -> Path:
    return recorded / "live" / "raycap" / RUNNING


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as w:
        yield w


@contextmanager
def proxying(w: World, **changed: Any) -> Iterator[httpx.Client]:
    with (
        serving(create_app(w.settings(**changed)), lifespan="on") as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
    ):
        yield client


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("access", ACCESS)
@pytest.mark.parametrize("scope", SCOPES)
def test_every_recorded_answer_comes_through_unchanged(w: World, answers: Path, access: str, scope: str) -> None:
    w.add_cluster()
    w.head.replay(answers)
    assert len(w.head.answers) > 200
    # The deadlines that users have: the short ones are for heads that do not answer.
    with proxying(w, dashboard_access=access, live_check_timeout=5.0, kubernetes_timeout=5.0) as client:
        for url, answer in w.head.answers.items():
            if "body" not in answer or url == "/api/version":
                continue
            got = client.get(SCOPES[scope] + url)
            explained = access == "apiserver" and answer["status"] in (401, 403)
            assert (url, got.status_code) == (url, answer["status"])
            assert explained or got.text == answer["body"], url
            assert got.headers.get("content-type") == answer["headers"].get("Content-Type"), url
        assert client.get(SCOPES[scope] + "/api/version").json()["session_name"] == RUNNING
    assert all(
        seen.path.startswith(("/api", "/nodes", "/logical", "/events", "/timezone", "/usage", "/log")) or "." not in seen.path[:2]
        for seen in w.head.seen
    )


def test_path_and_query_arrive_as_they_were_sent(w: World) -> None:
    w.add_cluster()
    with proxying(w) as client:
        client.get(PATH_SCOPE + "/api/v0/logs/a%2Fb%20c", params=None, headers={"accept": "text/plain"})
        client.get("/x?glob=%2A%2A%2F*.log&y=1+2&y=3&empty=")
    assert [(s.path, s.query) for s in w.head.seen if s.path != "/api/version"] == [
        ("/api/v0/logs/a%2Fb%20c", ""),
        ("/x", "glob=%2A%2A%2F*.log&y=1+2&y=3&empty="),
    ]


def test_no_request_names_a_target(w: World) -> None:
    w.add_cluster()
    with proxying(w) as client:
        client.get("/api/v0/nodes", headers={"host": "evil.example.com", "x-forwarded-host": "evil.example.com"})
        client.get(client.base_url.copy_with(raw_path=b"//evil.example.com/a"))
        for climbing in ("/a/%2e%2e/b", "/a/%252e%252e/b"):
            assert code(client.get(climbing)) == (400, "invalid_reference")
    assert [s.path for s in w.head.seen] == ["/api/v0/nodes", "//evil.example.com/a"]
    assert {s.headers["host"] for s in w.head.seen} == {f"127.0.0.1:{w.head.port}"}


@pytest.mark.parametrize("access", ACCESS)
def test_credentials_are_ours_and_never_the_clients(w: World, access: str) -> None:
    w.add_cluster(auth={"mode": "token", "secretName": "its-secret"})
    w.api.put(token_secret("its-secret", "the-token"))
    w.head.token = "the-token"
    w.head.routes["/api/jobs/"] = lambda _: Response("[]", headers={"set-cookie": "ray-authentication-token=the-token"})
    theirs = {
        "authorization": "Bearer theirs",
        "x-ray-authorization": "Bearer theirs",
        "cookie": "ray-authentication-token=theirs; cluster_name=raycap",
        "impersonate-user": "admin",
    }
    with proxying(w, dashboard_access=access) as client:
        answer = client.get("/api/jobs/", headers=theirs)
    assert (answer.status_code, answer.text) == (200, "[]")
    assert "set-cookie" not in answer.headers
    headers = w.head.seen[-1].headers
    assert headers["x-ray-authorization"] == "Bearer the-token"
    assert not {"authorization", "cookie", "impersonate-user"} & headers.keys()


def test_a_token_that_was_replaced_is_read_anew(w: World) -> None:
    w.add_cluster(auth={"mode": "token"})
    w.api.put(token_secret("raycap", "old"))
    w.head.token = "old"
    w.head.routes["/api/jobs/"] = lambda _: Response("[]")
    with proxying(w, token_age=600.0) as client:
        assert client.get("/api/jobs/").status_code == 200
        w.head.token = "new"
        w.api.put(token_secret("raycap", "new"))
        wait_until(lambda: client.get("/api/jobs/").status_code == 200, "the new token")


@pytest.mark.parametrize(("given", "expected"), [("wrong", (403, "head_forbidden")), (None, (503, "kubernetes_unavailable"))])
def test_a_refused_or_missing_token_is_explained(w: World, given: str | None, expected: tuple[int, str]) -> None:
    w.add_cluster(auth={"mode": "token", "secretName": "its-secret"})
    w.head.token = "right"
    if given:
        w.api.put(token_secret("its-secret", given))
    with proxying(w) as client:
        answer = client.get("/api/jobs/")
    assert code(answer) == expected
    assert "default/its-secret" in answer.json()["detail"]


def test_a_dashboard_that_wants_a_token_nobody_knows_of(w: World) -> None:
    w.add_cluster()
    w.head.token = "right"
    with proxying(w) as client:
        assert code(client.get("/api/jobs/")) == (401, "head_unauthorized")
        assert client.get("/api/gcs_healthz").status_code == 404, "what is public asks for no token"


def test_a_kubernetes_token_cluster_gets_the_callers_token(w: World) -> None:
    w.add_cluster(auth={"mode": "token", "enableK8sTokenAuth": True})
    w.head.token = "callers"
    w.head.routes["/api/jobs/"] = lambda _: Response("[]")
    with proxying(w) as client:
        assert client.get("/api/jobs/", headers={"x-ray-authorization": "Bearer callers"}).text == "[]"
        assert code(client.get("/api/jobs/", headers={"authorization": "Bearer callers"})) == (401, "head_unauthorized")


def test_hop_by_hop_headers_stay_on_their_hop(w: World) -> None:
    w.add_cluster()
    w.head.routes["/h"] = lambda _: Response("x", headers={"connection": "x-private", "x-private": "1", "x-public": "2", "keep-alive": "9"})
    sent = {"connection": "keep-alive, x-hop", "x-hop": "1", "te": "trailers", "x-end": "2", "x-forwarded-for": "10.0.0.1"}
    with proxying(w) as client:
        answer = client.get("/h", headers=sent)
    seen = w.head.seen[-1].headers
    assert seen["x-end"] == "2"
    assert not {"x-hop", "te", "x-forwarded-for"} & seen.keys()
    assert answer.headers["x-public"] == "2"
    assert "x-private" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"


def test_encoded_answers_pass_as_they_are(w: World) -> None:
    import gzip

    packed = gzip.compress(b"text" * 100)
    w.add_cluster()
    w.head.routes["/gz"] = lambda _: Response(packed, headers={"content-encoding": "gzip"})
    with proxying(w) as client, client.stream("GET", "/gz", headers={"accept-encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert b"".join(answer.iter_raw()) == packed


def test_redirects_stay_in_scope_and_are_not_followed(w: World) -> None:
    w.add_cluster()
    w.head.routes["/old"] = lambda _: RedirectResponse("/new?x=1")
    w.head.routes["/out"] = lambda _: RedirectResponse(f"http://127.0.0.1:{w.head.port}/new")
    with proxying(w) as client:
        assert client.get(PATH_SCOPE + "/old").headers["location"] == PATH_SCOPE + "/new?x=1"
        assert client.get(PATH_SCOPE + "/out").headers["location"] == PATH_SCOPE + "/new"
        assert client.get("/old").headers["location"] == "/new?x=1"
    assert "/new" not in {s.path for s in w.head.seen}


def test_head_requests_carry_headers_only(w: World) -> None:
    w.add_cluster()
    w.head.routes["/a"] = lambda _: Response("12345")
    with proxying(w) as client:
        answer = client.head("/a")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "5", b"")
    assert w.head.seen[-1].method == "HEAD"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_methods_need_a_setting(w: World, method: str) -> None:
    w.add_cluster()
    w.head.routes["/api/jobs/"] = lambda request: Response(request.method)
    with proxying(w) as client:
        refused = client.request(method, "/api/jobs/", content=b"{}")
        assert code(refused) == (405, "method_not_allowed")
        assert refused.headers["allow"] == "GET, HEAD"
        assert code(client.request(method, "/api/authenticate")) == (405, "method_not_allowed")
    assert w.head.seen == []
    with proxying(w, proxy_methods="get, head, post, put, patch, delete") as client:
        assert client.request(method, "/api/jobs/", content=b'{"a": 1}').text == method
        assert w.head.seen[-1].body == b'{"a": 1}'
        site = client.request(method, "/api/jobs/", content=b"{}", headers={"sec-fetch-site": "cross-site"})
        assert code(site) == (403, "cross_site")


def test_request_bodies_stream(w: World) -> None:
    w.add_cluster()
    w.head.routes["/up"] = lambda _: Response("ok")
    with proxying(w, proxy_methods="POST") as client:
        assert client.post("/up", content=iter([b"a" * 70_000] * 50)).text == "ok"
    assert len(w.head.seen[-1].body) == 3_500_000


def test_server_sent_events_arrive_one_by_one(w: World) -> None:
    w.add_cluster()
    got: list[str] = []
    with proxying(w) as client, client.stream("GET", PATH_SCOPE + "/sse?count=5") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                got.append(line)
                w.head.released = len(got)
    assert got == [f"data: {number}" for number in range(5)]


def test_a_client_that_leaves_frees_the_head(w: World) -> None:
    w.add_cluster()
    with proxying(w, proxy_connections=1, proxy_answer_timeout=4.0) as client:
        with client.stream("GET", "/stream?bytes=1000000000") as answer:
            next(answer.iter_raw())
        w.head.routes["/a"] = lambda _: Response("a")
        wait_until(lambda: client.get("/a").status_code == 200, "the one connection")
        assert w.head.sent < 500_000_000


def test_a_head_that_dies_in_the_middle_ends_the_answer(w: World) -> None:
    w.add_cluster()
    w.head.routes["/cut"] = lambda _: Response("abc", headers={"content-length": "1000"})
    with proxying(w) as client, pytest.raises(httpx.HTTPError):
        client.get("/cut")


@pytest.mark.parametrize("access", ACCESS)
def test_a_head_that_is_down_is_502(w: World, access: str) -> None:
    w.cluster_without_listener()
    w.api.services["default/raycap-head-svc"] = unused_port()
    with proxying(w, dashboard_access=access) as client:
        answer = client.get("/nodes")
    assert code(answer) == (502, "head_unreachable")
    assert "default/raycap" in answer.json()["detail"]
    assert answer.headers["retry-after"]


def test_no_endpoints_behind_the_service_is_502(w: World) -> None:
    w.add_cluster()
    w.api.services.clear()
    with proxying(w, dashboard_access="apiserver") as client:
        answer = client.get("/nodes")
    assert code(answer) == (502, "head_unreachable")
    assert "no endpoints" in answer.json()["detail"]


def test_a_head_that_hangs_is_504(w: World) -> None:
    w.add_cluster()
    w.head.hang = True
    with proxying(w, proxy_answer_timeout=0.4) as client:
        assert code(client.get("/nodes")) == (504, "head_timeout")


def test_a_body_may_pause_no_longer_than_the_setting(w: World) -> None:
    w.add_cluster()
    with proxying(w, proxy_idle_timeout=0.4) as client, pytest.raises(httpx.HTTPError), client.stream("GET", "/sse?count=2") as answer:
        answer.read()


def test_a_busy_pool_is_503(w: World) -> None:
    w.add_cluster()
    with proxying(w, proxy_connections=1, proxy_answer_timeout=0.8) as client, client.stream("GET", "/sse?count=2"):
        assert code(client.get("/nodes")) == (503, "head_busy")


def test_the_heads_own_errors_are_its_own(w: World) -> None:
    w.add_cluster()
    w.head.routes["/503"] = lambda _: Response("busy", 503)
    w.head.fail_with = None
    with proxying(w) as client:
        answer = client.get("/503")
        assert (answer.status_code, answer.text) == (503, "busy")
        assert client.get("/nope").text == "404: Not Found"


def test_a_former_session_is_not_proxied_and_a_restart_is_noticed(w: World) -> None:
    w.add_cluster()
    w.head.routes["/a"] = lambda _: Response("a")
    former = PATH_SCOPE.replace(RUNNING, FORMER)
    with proxying(w, live_check_age=0.05) as client:
        assert client.get(former + "/a").status_code == 404
        assert client.get(PATH_SCOPE + "/a").text == "a"
        w.head.session = "session_2026-11-24_01-02-03_000004_1"
        wait_until(lambda: client.get(PATH_SCOPE + "/a").status_code == 404, "the restart")
        assert client.get("/a").text == "a", "live is whatever runs"


def test_a_newer_session_is_not_dead_by_an_older_answer(w: World) -> None:
    w.add_cluster()
    w.head.session = FORMER
    w.head.routes["/a"] = lambda _: Response("a")
    with proxying(w, live_check_age=600.0) as client:
        assert client.get(PATH_SCOPE.replace(RUNNING, FORMER) + "/a").text == "a"
        w.head.session = RUNNING
        assert client.get(PATH_SCOPE + "/a").text == "a"


def test_listings_name_the_sessions_that_run(w: World) -> None:
    w.add_cluster()
    w.add_cluster("silent", port=unused_port(), created="2026-11-24T00:00:00Z")
    w.add_cluster("resting", suspended=True)
    with proxying(w) as client:
        for _ in range(3):
            assert client.get("/-/running").text.splitlines() == ["default/silent None", f"default/raycap {RUNNING}"]
    assert w.head.version_asked == 1


def test_a_session_that_came_back_is_known_without_waiting(w: World) -> None:
    """A fault tolerant cluster was suspended, its session loaded, and is resumed: its head goes on with the same session."""
    w.add_cluster(suspended=True, fault_tolerant=True)
    with proxying(w) as client:
        assert client.get(f"/-/revived/{RUNNING}").text == "dead"
        w.add_cluster(fault_tolerant=True)
        wait_until(lambda: client.get(f"/-/revived/{RUNNING}").text == "default/raycap", "the revived session")
        assert client.get(f"/-/revived/{FORMER}").text == "dead"
        assert w.head.version_asked == 1


@pytest.mark.parametrize("trouble", ["plain", "hanging", "outage"])
def test_nothing_but_a_heads_word_revives(w: World, trouble: str) -> None:
    w.add_cluster(fault_tolerant=trouble != "plain")
    w.head.hang = trouble == "hanging"
    w.api.fail_with = 503 if trouble == "outage" else None
    with proxying(w) as client:
        assert {client.get(f"/-/revived/{RUNNING}").text for _ in range(50)} == {"dead"}
        assert len(w.head.seen) <= 1


async def test_500_at_once_cost_kubernetes_nothing(w: World) -> None:
    """All 500, in both scopes, are on their way at the same time, over one watch: no LIST, no GET, and few questions to the head."""
    w.add_cluster()
    w.head.routes["/a"] = lambda _: Response(json.dumps(list(range(200))))
    with proxying(w, proxy_connections=500, live_check_age=60.0) as client:
        assert client.get(PATH_SCOPE + "/a").status_code == 200
        wait_until(lambda: w.api.watches == 1, "the watch")
        before, w.head.hang = len(w.api.requests), True
        w.head.seen.clear()
        async with httpx.AsyncClient(
            base_url=client.base_url, limits=httpx.Limits(max_connections=500), timeout=60, trust_env=False
        ) as many:
            asked = [asyncio.create_task(many.get(path)) for path in ["/a", PATH_SCOPE + "/a"] * 250]
            await asyncio.to_thread(wait_until, lambda: len(w.head.seen) == 500, "all requests at the head")
            w.head.hang = False
            assert [(await answer).status_code for answer in asked] == [200] * 500
        assert w.api.requests[before:] == []
    assert w.api.asked("list") == w.api.asked("watch") == 1
    assert w.head.version_asked == 1


TAIL = "/api/jobs/sub/logs/tail"


def _followed(client: httpx.Client, path: str = f"{PATH_SCOPE}{TAIL}", **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{client.base_url.port}{path}", open_timeout=20, proxy=None, **options)


def test_a_jobs_log_is_followed_as_it_grows(w: World) -> None:
    w.add_cluster(auth={"mode": "token", "secretName": "its-secret"})
    w.api.put(token_secret("its-secret", "the-token"))
    w.head.token = "the-token"
    w.head.tails[TAIL] = ["first ü\n", "second\n"]
    with proxying(w) as client, _followed(client, additional_headers={"cookie": "theirs=1"}) as websocket:
        assert websocket.recv(timeout=20) == "first ü\n"
        w.head.released = 1
        assert websocket.recv(timeout=20) == "second\n"
        w.head.released = 2
        assert list(websocket) == []
        assert websocket.close_code == 1000
    seen = w.head.seen[-1]
    assert (seen.method, seen.path, seen.headers["x-ray-authorization"]) == ("WEBSOCKET", TAIL, "Bearer the-token")
    assert "cookie" not in seen.headers


def test_who_stops_following_leaves_no_websocket_to_the_head(w: World) -> None:
    w.add_cluster()
    w.head.tails[TAIL] = ["first\n", "never\n"]
    with proxying(w) as client:
        with _followed(client, TAIL) as websocket:
            assert websocket.recv(timeout=20) == "first\n"
            assert w.head.tails_open == 1
        wait_until(lambda: w.head.tails_open == 0, "the head's websocket to be closed")


def test_a_head_that_refuses_a_websocket(w: World) -> None:
    w.add_cluster()
    with proxying(w) as client:
        with pytest.raises(InvalidStatus) as refused:
            _followed(client, "/api/jobs/unknown/logs/tail")
        assert (refused.value.response.status_code, refused.value.response.body) == (404, b"404: Not Found")
        w.head.token = "nobody knows it"
        with pytest.raises(InvalidStatus) as unauthorized:
            _followed(client, TAIL)
        assert unauthorized.value.response.status_code == 401
        assert b"head_unauthorized" in (unauthorized.value.response.body or b"")


def test_a_log_that_breaks_off_is_no_whole_log(w: World) -> None:
    w.add_cluster()
    w.head.tails[TAIL] = ["first\n", BREAK]
    with proxying(w) as client, _followed(client) as websocket:
        assert websocket.recv(timeout=20) == "first\n"
        w.head.released = 1
        with pytest.raises(ConnectionClosedError):
            websocket.recv(timeout=20)
