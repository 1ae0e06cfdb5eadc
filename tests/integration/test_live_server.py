"""The whole server with live clusters: its own routes, both scopes, loads, and what happens when Kubernetes or a head goes away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live_kubernetes.api_server import ApiServer
from tests.live_kubernetes.head import Head
from tests.live_kubernetes.history_server import HistoryServer, environment, history_server
from tests.live_kubernetes.objects import token_secret
from tests.live_kubernetes.world import FORMER, World
from tests.waiting import wait_until

RUNNING = "session_2026-11-23_19-07-13_553337_1"
MIDDLE = "session_2026-11-23_19-05-06_598956_1"
JOB = "session_2026-11-23_19-08-07_927634_1"
CAP = "default/raycluster/raycap"
MAX_AGE = 2.0
LOG_BYTES = 100 << 20


@pytest.fixture(scope="module")
def started(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, HistoryServer]]:
    directory = tmp_path_factory.mktemp("up")
    with ExitStack() as stack:
        api = stack.enter_context(ApiServer().running())
        head = stack.enter_context(Head().running())
        world = World(api, head, directory)
        settings = world.settings(kubernetes_max_age=MAX_AGE, live_check_age=0.2, token_age=0.2)
        variables = environment(settings) | {"RAY_HISTORY_CATALOGUE_MAX_AGE": "0", "RAY_HISTORY_RETRY_AFTER_FAILURE": "1"}
        yield world, stack.enter_context(history_server(recorded / "bucket", directory, variables))


@pytest.fixture
def w(started: tuple[World, HistoryServer], recorded: Path, client: httpx.Client) -> World:
    """default/raycap runs its newest session; nothing is loaded."""
    world, _ = started
    for body in list(world.api._objects.values()):
        world.api.delete(body)
    world.api.fail_with = None
    fresh = Head(port=world.head.port)
    fresh.replay(recorded / "live" / "raycap" / RUNNING)
    world.head.__dict__.update({**fresh.__dict__, "seen": [], "port": world.head.port})
    world.add_cluster()
    wait_until(lambda: live_names(client) == ["raycap"], "the cluster")
    for session in (FORMER, MIDDLE, RUNNING):
        client.delete(f"/sessions/{CAP}/{session}")
    return world


def live_names(client: httpx.Client) -> list[str]:
    answer = client.get("/clusters")
    return [row["name"] for row in answer.json() if row["sessionName"] == "live"] if answer.status_code == 200 else []


@pytest.fixture
def client(started: tuple[World, HistoryServer]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=started[1].url, timeout=60, trust_env=False) as client:
        yield client


def enter(client: httpx.Client, ref: str, wait: int = 30) -> tuple[int, dict[str, Any]]:
    answer = client.get(f"/enter_cluster/{ref}", params={"wait": wait})
    return answer.status_code, answer.json()


def success(session: str) -> dict[str, str]:
    return {"result": "success", "name": "raycap", "namespace": "default", "session": session}


def names(client: httpx.Client) -> list[tuple[str, str]]:
    return [(row["name"], row["sessionName"]) for row in client.get("/clusters").json()]


@pytest.mark.parametrize("session", [RUNNING, "live", "latest", ""])
def test_entering_a_live_session_gives_live(w: World, client: httpx.Client, session: str) -> None:
    status, body = enter(client, f"{CAP}/{session}".rstrip("/"), wait=0)
    assert (status, body) == (200, success("live"))
    assert client.cookies["session_name"] == "live"
    assert client.get("/api/version").json()["session_name"] == RUNNING


@pytest.mark.parametrize("session", [RUNNING, "live", "latest"])
def test_both_scopes_answer_as_the_live_dashboard(w: World, client: httpx.Client, session: str) -> None:
    enter(client, f"{CAP}/live", wait=0)
    for url in (
        "/nodes?view=summary",
        "/api/v0/tasks?detail=1&limit=10000&exclude_driver=false",
        "/api/jobs/",
        "/timezone",
        "/no/such/path",
    ):
        answer = w.head.answers.get(url, {"status": 404, "body": "404: Not Found"})
        for scope in ("", f"/sessions/{CAP}/{session}/dashboard"):
            got = client.get(scope + url)
            assert (got.status_code, got.text) == (answer["status"], answer["body"]), scope + url
    assert "/no/such/path" in {seen.path for seen in w.head.seen}


def test_what_would_change_a_live_cluster_is_refused(w: World, client: httpx.Client) -> None:
    enter(client, f"{CAP}/live", wait=0)
    for scope in ("", f"/sessions/{CAP}/live/dashboard"):
        answer = client.post(f"{scope}/api/jobs/", json={"entrypoint": "rm -rf /"})
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "POST" not in {seen.method for seen in w.head.seen}


def test_live_and_dead_are_listed_together(w: World, client: httpx.Client) -> None:
    listed = names(client)
    assert listed[0] == ("raycap", "live")
    assert {("raycap", FORMER), ("raycap", MIDDLE), ("rj-demo-x7k2p", JOB)} <= set(listed[1:])
    rows = {row["ref"]: row for row in client.get("/sessions").json()["sessions"]}
    assert (rows[f"{CAP}/live"]["live"], rows[f"{CAP}/live"]["status"]) == (True, "live")
    assert (rows[f"{CAP}/{FORMER}"]["live"], rows[f"{CAP}/{FORMER}"]["status"]) == (False, "absent")
    assert client.get(f"/sessions/{CAP}/{RUNNING}").json()["state"] == "live"
    assert client.get(f"/sessions/{CAP}/live").json()["state"] == "live"


def test_the_old_session_of_a_running_cluster_loads(w: World, client: httpx.Client) -> None:
    assert enter(client, f"{CAP}/{FORMER}") == (200, success(FORMER))
    tasks = client.get("/api/v0/tasks", params={"detail": 1, "limit": 10000, "exclude_driver": "false"}).json()
    assert tasks["data"]["result"]["total"] == 329


def test_a_cluster_that_dies_goes_cold_without_a_restart(w: World, client: httpx.Client, started: tuple[World, HistoryServer]) -> None:
    process = started[1].api_process()
    assert enter(client, f"{CAP}/{RUNNING}", wait=0)[1]["session"] == "live"
    w.head.fail_with = 502
    w.api.delete(w.add_cluster())
    wait_until(lambda: ("raycap", "live") not in names(client), "the end of the cluster")
    assert enter(client, f"{CAP}/{RUNNING}")[1]["session"] == RUNNING
    assert enter(client, f"{CAP}/latest")[1]["session"] == RUNNING
    assert client.get(f"/sessions/{CAP}/{RUNNING}/dashboard/api/v0/tasks").json()["result"] is True
    assert client.get(f"/enter_cluster/{CAP}/live").status_code == 404
    assert started[1].api_process() == process


def test_a_head_that_restarts_makes_its_last_session_dead(w: World, client: httpx.Client) -> None:
    w.head.session = None
    # What the head said a moment ago is kept for a moment.
    wait_until(lambda: client.get(f"/enter_cluster/{CAP}/{RUNNING}").status_code != 200, "the end of the kept answer")
    answer = client.get(f"/enter_cluster/{CAP}/{RUNNING}")
    assert (answer.status_code, answer.json()["code"]) == (503, "kubernetes_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "does not say its session" in answer.json()["detail"]
    assert client.get(f"/sessions/{CAP}/{RUNNING}").status_code == 503, "unknown is neither live nor absent"
    w.head.session = "session_2026-11-24_08-00-00_000001_1"
    wait_until(lambda: enter(client, f"{CAP}/{RUNNING}")[1].get("session") == RUNNING, "the load")


def test_a_head_that_is_down_makes_nothing_dead(w: World, client: httpx.Client) -> None:
    w.cluster_without_listener()
    ref = f"{CAP}/{RUNNING}"
    wait_until(lambda: client.get(f"/enter_cluster/{ref}").status_code == 503, "503")
    answer = client.get(f"/enter_cluster/{CAP}/live")
    assert answer.json()["session"] == "live"
    assert client.get(f"/sessions/{CAP}/live/dashboard/nodes").json()["code"] == "head_unreachable"
    w.add_cluster()
    wait_until(lambda: enter(client, ref, wait=0)[1].get("session") == "live", "the head")


def test_a_kubernetes_outage_leaves_loaded_sessions_readable(w: World, client: httpx.Client) -> None:
    for session in (FORMER, MIDDLE):
        assert enter(client, f"{CAP}/{session}")[0] == 200
    w.api.fail_with = 503
    w.api.cut_watches()
    wait_until(lambda: client.get("/clusters").status_code == 503, "an old listing")
    asked = len(w.api.requests)
    for session in (FORMER, MIDDLE) * 5:
        assert enter(client, f"{CAP}/{session}", wait=0) == (200, success(session))
        assert client.get("/api/v0/tasks").json()["result"] is True
        assert client.get(f"/sessions/{CAP}/{session}/dashboard/nodes?view=summary").json()["result"] is True
        assert client.get(f"/sessions/{CAP}/{session}").json()["state"] == "loaded"
    assert {asked.verb for asked in w.api.requests[asked:]} <= {"list"}, "only the listing is tried again"
    assert client.get("/readz").status_code == 200
    assert client.get("/readz").json()["checks"]["kubernetes"]["age"] > MAX_AGE
    for ref in (f"{CAP}/{RUNNING}", f"{CAP}/latest", f"{CAP}/live"):
        answer = client.get(f"/enter_cluster/{ref}")
        assert (answer.status_code, answer.json()["code"]) == (503, "kubernetes_unavailable"), ref
        assert "retry-after" in answer.headers
    w.api.fail_with = None
    wait_until(lambda: client.get("/clusters").status_code == 200, "a new listing", 60)
    assert enter(client, f"{CAP}/{RUNNING}", wait=0)[1]["session"] == "live"


def test_what_a_worker_cannot_know_is_no_load_and_is_tried_again(w: World, client: httpx.Client) -> None:
    """The API's listing is young enough and the head answers, but the worker, who asks anew, is refused."""
    w.api.allowed = {("list", "ray.io", "rayclusters"), ("watch", "ray.io", "rayclusters")}
    try:
        ref = f"{CAP}/{FORMER}"
        for _ in range(5):
            client.post(f"/sessions/{ref}/load", params={"force": "true"})
            wait_until(lambda: client.get(f"/sessions/{ref}").json()["state"] == "failed", "the failure")
            error = client.get(f"/sessions/{ref}").json()["error"]
            assert (error["code"], error["retryable"]) == ("kubernetes_unavailable", True)
            assert "403" in error["message"]
        assert client.get(f"/sessions/{ref}/dashboard/api/v0/tasks").status_code == 503
    finally:
        w.api.allowed = None
    wait_until(lambda: enter(client, ref)[0] == 200, "the load")


def test_a_jobs_cluster_is_entered_by_its_job(w: World, client: httpx.Client) -> None:
    w.head.session = JOB
    w.add_cluster("rj-demo-x7k2p", namespace="batch", owner=("RayJob", "rj-demo"))
    wait_until(lambda: ("rj-demo-x7k2p", "live") in names(client), "the cluster")
    row = next(row for row in client.get("/clusters").json() if row["name"] == "rj-demo-x7k2p")
    assert (row["ownerKind"], row["ownerName"]) == ("rayjob", "rj-demo")
    for session in (JOB, "latest", "live"):
        assert enter(client, f"batch/rayjob/rj-demo/{session}", wait=0)[1]["session"] == "live"
        assert client.get("/api/version").json()["session_name"] == JOB
    assert enter(client, f"batch/raycluster/rj-demo-x7k2p/{JOB}", wait=0)[1]["session"] == "live"


def test_a_token_cluster_is_read_without_the_clients_token(w: World, client: httpx.Client) -> None:
    w.head.token = "the-token"
    w.add_cluster(auth={"mode": "token", "secretName": "its-secret"})
    wait_until(lambda: "its-secret" in client.get(f"/enter_cluster/{CAP}/{RUNNING}").json().get("detail", ""), "the missing Secret")
    assert client.get(f"/enter_cluster/{CAP}/{RUNNING}").status_code == 503
    w.api.put(token_secret("its-secret", "the-token"))
    wait_until(lambda: enter(client, f"{CAP}/{RUNNING}", wait=0)[0] == 200, "the Secret")
    got = client.get("/nodes?view=summary", headers={"authorization": "Bearer theirs"})
    assert got.text == w.head.answers["/nodes?view=summary"]["body"]


def test_a_log_of_100_mb_streams_through_with_flat_memory(w: World, client: httpx.Client, started: tuple[World, HistoryServer]) -> None:
    process = started[1].api_process()
    url = f"/sessions/{CAP}/live/dashboard/stream?bytes={{}}"
    with client.stream("GET", url.format(8 << 20)) as answer:  # what a first stream needs once
        sum(len(chunk) for chunk in answer.iter_raw())
    before, highest, got, looked = process.memory_info().rss, 0, 0, 0
    with client.stream("GET", url.format(LOG_BYTES)) as answer:
        for chunk in answer.iter_raw():
            got += len(chunk)
            if got - looked > LOG_BYTES // 50:
                looked = got
                highest = max(highest, process.memory_info().rss)
    assert got == LOG_BYTES
    assert highest - before < 16 << 20, f"{(highest - before) >> 20} MiB more"


def test_a_reader_that_stops_makes_the_head_wait(w: World, client: httpx.Client, started: tuple[World, HistoryServer]) -> None:
    process = started[1].api_process()
    with client.stream("GET", f"/sessions/{CAP}/live/dashboard/stream?bytes={LOG_BYTES}") as answer:
        chunks = answer.iter_raw()
        next(chunks)
        before = process.memory_info().rss
        seen = [-1]

        def stopped() -> bool:
            seen.append(w.head.sent)
            return seen[-1] == seen[-2]

        wait_until(stopped, "a head that waits")
        assert w.head.sent < LOG_BYTES // 2
        assert process.memory_info().rss - before < 16 << 20
        assert 1 + sum(1 for _ in chunks) > 1
    assert w.head.sent == LOG_BYTES


def test_no_request_of_all_these_listed_anew(w: World, client: httpx.Client) -> None:
    lists = w.api.asked("list")
    for _ in range(20):
        client.get("/clusters")
        enter(client, f"{CAP}/latest", wait=0)
        client.get("/nodes?view=summary")
    assert w.api.asked("list") == lists
