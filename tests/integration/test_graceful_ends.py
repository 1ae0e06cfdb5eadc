"""SIGTERM: workers finish or hand back, API processes send what they hold and refuse nothing on the way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.embedded_server import free_port
from tests.gated_bucket import GatedBucket
from tests.integration.conftest import SMALL
from tests.servers import Api, Deployment, RedisServer, deployment
from tests.waiting import wait_until

GRACE = 2.0


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, bucket: GatedBucket, database: count[int]
) -> Iterator[Deployment]:
    # The lease is long: what is loaded again was handed back, not taken over.
    settings = {"LEASE": 60, "QUEUE_LEASE": 120, "DRAIN": 1, "SHUTDOWN_GRACE": 5}
    with deployment(tmp_path_factory.mktemp("ends"), redis_server, bucket.storage, next(database), **settings) as made:
        yield made


@pytest.fixture
def api(whole: Deployment) -> Iterator[Api]:
    with whole.borrowed():
        yield whole.api()


def _value(url: str, name: str, **labels: str) -> float:
    text = httpx.get(f"{url}/metrics", timeout=10).text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def test_a_worker_finishes_what_it_can(whole: Deployment, api: Api, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    worker = whole.worker(1, WORKER_GRACE=30)
    with bucket.closed(ref) as gate:
        assert api.get(f"/enter_cluster/{ref}").status_code == 202
        assert gate.reached.wait(30)
        worker.process.terminate()
        wait_until(lambda: '"ending"' in worker.said, "the worker to notice")
    assert worker.process.wait(30) == 0
    record = api.get(f"/sessions/{ref}").json()
    assert (record["state"], record["attempt"]) == ("loaded", 1)


def test_a_worker_hands_back_what_it_cannot(whole: Deployment, api: Api, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    worker = whole.worker(1, WORKER_GRACE=GRACE)
    with bucket.closed(ref) as gate:
        assert api.get(f"/enter_cluster/{ref}").status_code == 202
        assert gate.reached.wait(30)
        began = time.monotonic()
        worker.process.terminate()
        assert worker.process.wait(GRACE + 10) == 0
        assert time.monotonic() - began >= GRACE
        assert api.state(ref) == "loading"
    port = free_port()
    whole.worker(1, WORKER_PORT=port)
    # Nobody asks for it: the queue has it again.
    wait_until(lambda: api.state(ref) == "loaded", "the second worker's load")
    assert api.get(f"/sessions/{ref}").json()["attempt"] == 2
    url = f"http://127.0.0.1:{port}"
    assert _value(url, "ray_history_takeovers_total", by="worker") == 1
    assert _value(url, "ray_history_loads_total", result="complete") == 1


def test_a_held_answer_is_sent_before_the_end(whole: Deployment, api: Api, bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    whole.worker(1, WORKER_GRACE=GRACE)
    answers: list[httpx.Response] = []
    with bucket.closed(ref) as gate:
        asking = threading.Thread(
            target=lambda: answers.append(httpx.get(f"{api.url}/enter_cluster/{ref}", params={"wait": 30}, timeout=60))
        )
        asking.start()
        assert gate.reached.wait(30)
        with httpx.stream("GET", f"{api.url}/sessions/{ref}/events", timeout=60) as events:
            api.child.process.terminate()
            wait_until(lambda: _status(api.url) == (503, ["draining"]), "/readz says so")
            # Still served, and told to go elsewhere next time.
            answer = httpx.get(f"{api.url}/sessions/{ref}")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            said = events.read().decode()
        asking.join(60)
    # The stream ended in order (a browser asks again by itself), and so did the wait.
    assert '"state":"loading"' in said
    assert [answer.status_code for answer in answers] == [202]
    assert api.child.process.wait(30) in (0, -signal.SIGTERM)


def test_several_processes_drain_and_count_together(whole: Deployment, api: Api) -> None:
    several = whole.api(processes=2)
    for _ in range(40):
        assert httpx.get(f"{several.url}/sessions").status_code == 200
    assert _value(several.url, "ray_history_request_seconds_count", route="/sessions") == 40
    several.child.process.terminate()
    wait_until(lambda: _status(several.url) == (503, ["draining"]), "/readz says so")
    assert several.child.process.wait(30) == 0
    assert _status(api.url)[0] == 200


def test_nothing_of_the_metrics_is_left(whole: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(whole._environment, "TMPDIR", str(tmp_path))
    worker = whole.worker(1)
    assert list(tmp_path.glob("ray-history-metrics-*"))
    worker.process.terminate()
    worker.process.wait(30)
    assert not list(tmp_path.glob("ray-history-metrics-*"))


def _status(url: str) -> tuple[int, list[str]]:
    try:
        answer = httpx.get(f"{url}/readz", timeout=10)
    except httpx.TransportError:
        return 0, []
    return answer.status_code, answer.json()["missing"]
