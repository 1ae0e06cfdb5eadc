"""compose.yaml as processes: two API processes behind its reverse proxy, two workers, Flower, Redis and an S3 store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.composed import PASSWORD, Composed, composed
from tests.waiting import wait_until

SESSION = "default/raycluster/raycap/session_2026-11-23_19-00-40_785172_1"
KEY = "default/raycap/session_2026-11-23_19-00-40_785172_1"
TASKS = f"/sessions/{SESSION}/dashboard/api/v0/tasks"
EVERYTHING = {"detail": "1", "limit": "10000", "exclude_driver": "false"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    with composed(tmp_path_factory.mktemp("composed")) as made:
        yield made


@pytest.fixture(scope="module")
def loaded(whole: Composed) -> httpx.Response:
    """The first answer to entering a session, on one API process; the session is loaded when a test sees this."""
    with httpx.Client(base_url=whole.url("api-1"), timeout=40) as client:
        first = client.get(f"/enter_cluster/{SESSION}")
        wait_until(lambda: client.get(f"/enter_cluster/{SESSION}", params={"wait": 10}).status_code == 200, "the load")
    return first


def _values(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = httpx.get(f"{url}/metrics", timeout=10).raise_for_status().text
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in text_string_to_metric_families(text) for s in family.samples}


def _sum(values: dict[Any, float], name: str, **labels: str) -> float:
    return sum(value for (known, having), value in values.items() if known == name and labels.items() <= dict(having).items())


def test_a_session_entered_on_one_api_is_served_by_all(whole: Composed, loaded: httpx.Response) -> None:
    assert loaded.status_code == 202
    for name in ("api-2", "api-1", "proxy"):
        entered = httpx.get(f"{whole.url(name)}/enter_cluster/{SESSION}")
        assert entered.status_code == 200, name
        answer = httpx.get(whole.url(name) + TASKS, params=EVERYTHING)
        assert answer.json()["data"]["result"]["total"] == 329, name


@pytest.mark.usefixtures("loaded")
def test_flower_shows_the_task_and_its_session(whole: Composed) -> None:
    with httpx.Client(base_url=whole.url("flower"), auth=("admin", PASSWORD), timeout=20) as flower:
        tasks: dict[str, Any] = {}

        def shown() -> bool:
            tasks.update(flower.get("/api/tasks").raise_for_status().json())
            return any(task["state"] == "SUCCESS" for task in tasks.values())

        wait_until(shown, "the task in Flower")
        (task,) = (task for task in tasks.values() if task["name"] == "ray_history.load_session")
        assert task["uuid"].startswith(f"{KEY}@")
        assert KEY in task["kwargs"]
        assert task["sent"]
        assert task["received"] <= task["started"] <= task["succeeded"]
        workers: dict[str, Any] = {}
        wait_until(lambda: len(workers.update(flower.get("/api/workers", params={"refresh": 1}).json()) or workers) == 4, "both workers")
        assert {name.partition("@")[0] for name in workers} == {"worker-1", "worker-1-light", "worker-2", "worker-2-light"}
        page = flower.get(f"/task/{task['uuid']}")
        assert page.status_code == 200
        assert KEY in page.text


def test_flower_is_behind_its_password(whole: Composed) -> None:
    for path in ("/", "/tasks", "/workers", "/api/tasks", "/api/workers"):
        for auth in (None, ("admin", "wrong"), ("other", PASSWORD)):
            assert httpx.get(whole.url("flower") + path, auth=auth).status_code == 401, path


def test_flower_only_shows(whole: Composed) -> None:
    with httpx.Client(base_url=whole.url("flower"), auth=("admin", PASSWORD)) as flower:
        name = next(iter(flower.get("/api/workers", params={"refresh": 1}).json()))
        assert flower.post(f"/api/worker/shutdown/{name}").status_code == 403
        assert flower.post("/api/task/async-apply/ray_history.load_session", json={"args": []}).status_code == 403
    assert all(whole.children[name].runs() for name in whole.workers)


@pytest.mark.usefixtures("loaded")
def test_workers_say_what_they_did(whole: Composed) -> None:
    pages = [_values(whole.url(name)) for name in whole.workers]

    def both(name: str, **labels: str) -> float:
        return sum(_sum(page, f"ray_history_{name}", **labels) for page in pages)

    assert both("loads_total", result="complete") == 1
    assert both("load_seconds_count") == 1
    assert both("queue_wait_seconds_count") == 1
    assert both("task_seconds_count", task="ray_history.load_session", state="SUCCESS") == 1
    for phase in ("listing", "parsing", "merging", "publishing"):
        assert both("phase_seconds_count", phase=phase) == 1, phase
    assert both("event_files_total", result="read") == 57
    assert both("event_files_total", result="failed") == 0
    assert both("events_total") == 2172
    assert both("event_bytes_total") > 1_000_000
    assert both("snapshot_written_bytes_total") > 50_000
    assert both("storage_call_seconds_count", operation="read_many", result="ok") >= 57
    assert both("storage_call_seconds_count", operation="list", result="ok") >= 1
    assert both("storage_read_bytes_total") >= both("event_bytes_total")
    # Its attempt is begun, renewed and published; its snapshot is written at once.
    assert both("redis_call_seconds_count", command="EVALSHA", result="ok") > 3
    assert both("redis_call_seconds_count", command="PIPELINE", result="ok") >= 1
    assert both("worker_processes") == 4
    assert both("tasks_running") == 0


@pytest.mark.usefixtures("loaded")
def test_apis_say_what_they_did(whole: Composed) -> None:
    for _ in range(2):
        httpx.get(whole.url("api-2") + TASKS, params=EVERYTHING).raise_for_status()
    first, second = (_values(whole.url(name)) for name in ("api-1", "api-2"))
    assert _sum(first, "ray_history_claims_total", outcome="won") == 1
    assert _sum(second, "ray_history_claims_total", outcome="won") == 0
    assert _sum(second, "ray_history_claims_total", outcome="loaded") >= 1
    assert _sum(second, "ray_history_cache_reads_total", result="hit") >= 1
    assert _sum(second, "ray_history_cache_bytes") > 0
    assert _sum(second, "ray_history_request_seconds_count", route="/api/v0/tasks", status="200", method="GET") >= 2
    assert _sum(first, "ray_history_request_seconds_count", route="/enter_cluster/{namespace}/{kind}/{name}/{session}", status="202") >= 1
    routes = {dict(labels)["route"] for name, labels in second if name == "ray_history_request_seconds_count"}
    assert not [route for route in routes if "session_2026" in route]
    for page in (first, second):
        assert _sum(page, "ray_history_redis_up") == 1
        assert _sum(page, "ray_history_queue_depth") == 0
        assert _sum(page, "ray_history_queue_taken") == 0
        assert _sum(page, "ray_history_snapshots") == 1
        assert _sum(page, "ray_history_snapshot_bytes") > 50_000
        assert _sum(page, "ray_history_snapshot_budget_bytes") == 1 << 30


def test_the_proxy_keeps_operators_routes_inside(whole: Composed) -> None:
    for path in ("/metrics", "/readz", "/livez"):
        assert httpx.get(whole.url("proxy") + path).status_code == 404
        assert httpx.get(whole.url("api-1") + path).status_code == 200


@pytest.mark.usefixtures("loaded")
def test_logs_of_a_load_meet(whole: Composed) -> None:
    """By the session, the generation and the task, over all processes."""
    said = "".join(whole.children[name].said for name in whole.workers)
    (line,) = (line for line in said.splitlines() if '"session loaded"' in line)
    record = json.loads(line)
    assert all(record[name] for name in ("task_id", "generation", "session")), line


def test_readz_names_what_is_missing(whole: Composed) -> None:
    whole.children["redis"].kill()
    answer: list[httpx.Response] = []

    def said() -> bool:
        answer[:] = [httpx.get(f"{whole.url('api-1')}/readz", timeout=20)]
        return answer[0].status_code == 503

    wait_until(said, "readz says so")
    assert answer[0].json()["missing"] == ["redis"]
    assert _sum(_values(whole.url("api-1")), "ray_history_redis_up") == 0
    assert httpx.get(f"{whole.url('api-1')}/livez").status_code == 200
    whole.start_redis()
    for name in ("api-1", "api-2", *whole.workers):
        whole.wait_ready(name)
    # What was loaded is in the append-only file.
    assert httpx.get(f"{whole.url('api-2')}/enter_cluster/{SESSION}", timeout=20).status_code == 200
