"""The load protocol on a real Redis with real API and worker processes: entering, waiting, joining, loading anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import RICH, SMALL, Running
from tests.waiting import wait_until

COOKIES = {"cluster_name", "cluster_namespace", "session_name", "owner_kind", "owner_name"}


def test_entering_is_202_until_loaded_then_200(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, RICH)
    session = ref.rsplit("/", 1)[1]
    api = running.api
    with bucket.closed(ref) as gate:
        first = api.get(f"/enter_cluster/{ref}")
        assert first.status_code == 202, first.text
        assert first.headers["location"] == f"/sessions/{ref}"
        assert int(first.headers["retry-after"]) >= 1
        assert first.headers["cache-control"] == "no-store"
        assert set(first.cookies) >= {"cluster_name", "cluster_namespace", "session_name"}
        body = first.json()
        assert (body["result"], body["name"], body["namespace"], body["session"]) == ("loading", cluster, "test", session)
        assert body["status"]["state"] in ("queued", "loading")
        assert gate.reached.wait(10)
        record = api.get(first.headers["location"])
        assert record.json()["state"] == "loading"
        assert record.headers["retry-after"]
        assert record.headers["cache-control"] == "no-store"
        assert record.json()["progress"]["files_total"] == 57
        gate.open.set()
        wait_until(lambda: api.get(f"/enter_cluster/{ref}").status_code == 200, "loaded")
    second = api.get(f"/enter_cluster/{ref}")
    assert second.status_code == 200
    assert second.json() == {"result": "success", "name": cluster, "namespace": "test", "session": session}
    assert {cookie.name for cookie in second.cookies.jar} == COOKIES
    for header in second.headers.get_list("set-cookie"):
        assert "Path=/" in header
        assert "HttpOnly" in header
        assert "SameSite=Lax" in header
        assert "Max-Age=600" in header
    status = api.get(f"/sessions/{ref}").json()
    assert status["state"] == "loaded"
    assert status["complete"] is True
    assert status["error"] is None
    assert status["progress"] | {"phase": ""} == {
        "files_total": 57,
        "files_read": 57,
        "files_failed": 0,
        "bytes_total": 1750932,
        "bytes_read": 1750932,
        "events": 2172,
        "phase": "",
    }
    assert status["losses"] == []
    assert status["events_skipped"] == 0
    assert status["attempt"] == 1
    assert status["queued_at"] <= status["started_at"] <= status["finished_at"] < status["expires_at"]


def test_the_rich_session_has_the_attempts_of_the_live_answer(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, RICH)
    running.api.load(ref)
    for api in running.apis:
        result = api.tasks(ref).json()["data"]["result"]
        assert (result["total"], result["num_filtered"], len(result["result"])) == (329, 329, 329)
        assert result["partial_failure_warning"] == ""


def test_nothing_that_the_listing_says_is_empty_is_asked_for(running: Running, bucket: GatedBucket, recorded: Path, cluster: str) -> None:
    ref = bucket.add(cluster, RICH)
    running.api.load(ref)
    (session,) = recorded.glob(f"bucket/cluster-history/*/*/*/session_*{RICH}*")
    empty = {path.relative_to(session).as_posix() for path in session.glob("*/logs/events/*") if not path.stat().st_size}
    assert len(empty) > 100
    asked = {path.partition(f"/{session.name}/")[2] for path in bucket.reads(ref)}
    assert any("/logs/events/" in path for path in asked)
    assert not asked & empty


def test_a_hundred_callers_over_two_processes_start_one_load(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, RICH)
    limits = httpx.Limits(max_connections=100)
    with httpx.Client(timeout=30, trust_env=False, limits=limits) as client, ThreadPoolExecutor(100) as callers, bucket.closed(ref) as gate:

        def enter(number: int) -> httpx.Response:
            return client.get(f"{running.apis[number % 2].url}/enter_cluster/{ref}")

        answers = list(callers.map(enter, range(100)))
        assert {answer.status_code for answer in answers} == {202}
        assert gate.reached.wait(10)
        gate.open.set()
        wait_until(lambda: enter(0).status_code == 200, "loaded")
        assert {answer.status_code for answer in callers.map(enter, range(100))} == {200}
    reads = bucket.event_reads(ref)
    assert len(reads) == 57
    assert set(reads.values()) == {1}


@pytest.mark.parametrize("how", ["prefer", "query"])
def test_waiting_holds_the_answer_until_loaded(running: Running, bucket: GatedBucket, cluster: str, how: str) -> None:
    ref = bucket.add(cluster, SMALL)
    options = {"headers": {"Prefer": "respond-async, wait=20"}} if how == "prefer" else {"params": {"wait": "20"}}
    answer = running.api.get(f"/enter_cluster/{ref}", **options)
    assert answer.status_code == 200, answer.text


def test_waiting_ends_after_the_given_time(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    with bucket.closed(ref):
        answer = running.api.get(f"/enter_cluster/{ref}", params={"wait": "0.5"})
        assert answer.status_code == 202
        assert 0.5 <= answer.elapsed.total_seconds() < 5


def test_a_dashboard_route_claims_the_load_and_waits(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    assert running.api.tasks(ref).status_code == 200


def test_a_dashboard_route_gives_up_waiting_with_503(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    with bucket.closed(ref):
        answer = running.api.tasks(ref)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["code"] == "loading"


def test_cookies_choose_the_session_of_root_routes(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    with httpx.Client(base_url=running.api.url, trust_env=False, timeout=30) as browser:
        assert browser.get(f"/enter_cluster/{ref}", params={"wait": "20"}).status_code == 200
        answer = browser.get("/api/v0/tasks", params={"detail": 1, "limit": 10_000})
        assert answer.status_code == 200
        assert answer.json() == running.api.get(f"/sessions/{ref}/dashboard/api/v0/tasks", params={"detail": 1, "limit": 10_000}).json()
        assert set(answer.cookies) >= {"cluster_name", "cluster_namespace", "session_name"}, "not renewed"


def test_latest_is_the_newest_session_by_its_real_name(running: Running, bucket: GatedBucket, cluster: str) -> None:
    bucket.add(cluster, SMALL)
    newest = bucket.mark(cluster, "session_2026-11-23_20-00-00_000001_7").rsplit("/", 1)[1]
    for path in (f"/enter_cluster/test/raycluster/{cluster}", f"/enter_cluster/test/RayCluster/{cluster}/latest"):
        answer = running.api.get(path, params={"wait": "20"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["session"] == newest


def test_load_is_asked_for_and_evicted(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    api, path = running.api, f"/sessions/{ref}"
    assert api.get(path).json()["state"] == "absent"
    asked = api.client.post(f"{path}/load")
    assert asked.status_code == 202
    assert asked.headers["location"] == path
    wait_until(lambda: api.state(ref) == "loaded", "loaded")
    assert api.client.post(f"{path}/load").status_code == 200
    assert api.client.delete(path).status_code == 204
    assert [other.state(ref) for other in running.apis] == ["absent", "absent"]
    assert api.client.delete(path).status_code == 204
    assert running.apis[1].tasks(ref).status_code == 200


def test_loading_anew_never_shows_half_a_snapshot(running: Running, bucket: GatedBucket, cluster: str) -> None:
    """Readers of both processes read all the time, while the session is loaded again and again."""
    ref = bucket.add(cluster, RICH)
    api = running.api
    api.load(ref)

    def read(number: int) -> list[tuple[int, int]]:
        seen = []
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not done:
                # A filter that matches all: another cache key each time, so blocks are looked for.
                query = {"detail": 1, "limit": 10_000, "exclude_driver": "false", "timeout": len(seen) + 1}
                answer = client.get(f"{running.apis[number % 2].url}/sessions/{ref}/dashboard/api/v0/tasks", params=query)
                seen.append((answer.status_code, answer.json()["data"]["result"]["num_filtered"] if answer.status_code == 200 else 0))
        return seen

    done = False
    with ThreadPoolExecutor(4) as readers:
        reading = [readers.submit(read, number) for number in range(4)]
        try:
            finished = {api.get(f"/sessions/{ref}").json()["finished_at"]}
            for round_ in range(3):
                assert api.client.post(f"/sessions/{ref}/load", params={"force": "true"}).status_code == 202
                wait_until(lambda: api.get(f"/sessions/{ref}").json()["finished_at"] not in finished, f"reload {round_}")
                finished.add(api.get(f"/sessions/{ref}").json()["finished_at"])
        finally:
            done = True
        seen = [answer for future in reading for answer in future.result()]
    assert len(seen) > 20
    assert set(seen) == {(200, 329)}


def test_a_read_of_what_another_process_has_just_dropped_loads_it_anew(running: Running, bucket: GatedBucket, cluster: str) -> None:
    here, elsewhere = running.apis
    ref = bucket.add(cluster, SMALL)
    here.load(ref)
    # A process takes a generation for current for a second.
    assert here.get(f"/enter_cluster/{ref}").status_code == 200
    assert elsewhere.client.delete(f"/sessions/{ref}").status_code == 204
    read = here.get(f"/sessions/{ref}/dashboard/api/v0/nodes", params={"detail": "1"})
    assert read.status_code == 200, read.text
    assert read.json()["data"]["result"]["total"] == 3


def test_a_hole_is_loaded_anew_by_the_read_that_finds_it_and_a_second_one_is_a_failure(
    running: Running, bucket: GatedBucket, cluster: str
) -> None:
    ref = bucket.add(cluster, SMALL)
    running.api.load(ref)
    # The second one is found by a process that keeps no blocks of it.
    for api, status in zip(running.apis, (200, 503), strict=True):
        with running.whole.redis.client(running.whole.database) as client:
            (snapshot,) = client.scan_iter(f"*/{cluster}/*:g:*")
            blocks = [field for field in client.hkeys(snapshot) if field.startswith(b"t:tasks:") and b":d:" in field]
            assert client.hdel(snapshot, *blocks) > 0
        read = api.tasks(ref)
        assert read.status_code == status, read.text
    assert read.json()["code"] == "load_failed"
    assert read.json()["cause"] == "snapshot_damaged"
    assert read.json()["result"] is False, "what Ray's State API clients read"


def test_eviction_stops_a_running_load(running: Running, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    api = running.api
    with bucket.closed(ref) as gate:
        api.get(f"/enter_cluster/{ref}")
        assert gate.reached.wait(10)
        before = running.worker.said.count("load given up")
        assert api.client.delete(f"/sessions/{ref}").status_code == 204
        assert api.state(ref) == "absent"
    wait_until(lambda: running.worker.said.count("load given up") > before, "the worker gives up")
    assert api.state(ref) == "absent"
    assert api.load(ref)["attempt"] == 1


def test_a_load_that_lost_its_claim_publishes_nothing(running: Running, bucket: GatedBucket, cluster: str) -> None:
    """The first load hangs, its claim is dropped, a second one loads; then the first one goes on."""
    ref = bucket.add(cluster, SMALL)
    api = running.api
    with bucket.closed(ref, first=1) as gate:
        api.get(f"/enter_cluster/{ref}")
        assert gate.reached.wait(10)
        before = running.worker.said.count("load given up")
        api.client.delete(f"/sessions/{ref}")
        record = api.load(ref)
        gate.open.set()
        wait_until(lambda: running.worker.said.count("load given up") > before, "the first load gives up")
    assert api.get(f"/sessions/{ref}").json() | {"expires_at": ""} == record | {"expires_at": ""}
    assert api.tasks(ref).status_code == 200
