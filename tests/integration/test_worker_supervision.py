"""A worker's processes: what ends by itself is started again, what cannot go on ends, and no end leaves anything behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import count

import httpx
import psutil
import pytest

from cli.embedded_server import free_port
from tests.gated_bucket import GatedBucket
from tests.integration.conftest import RICH, SMALL
from tests.servers import Api, Child, Deployment, RedisServer, deployment
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, bucket: GatedBucket, database: count[int]
) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("supervised"), redis_server, bucket.storage, next(database)) as made:
        made.api()
        yield made


@pytest.fixture
def api(whole: Deployment) -> Iterator[Api]:
    with whole.borrowed():
        yield whole._apis[0]


def _lanes(worker: Child) -> list[psutil.Process]:
    """Those that load; the health server has no children."""
    return [child for child in psutil.Process(worker.process.pid).children() if child.children()]


def _missing(port: int) -> list[str] | None:
    try:
        missing: list[str] = httpx.get(f"http://127.0.0.1:{port}/readz", timeout=10).json()["missing"]
    except httpx.TransportError:
        return None
    return missing


def _gone(processes: list[psutil.Process]) -> bool:
    return not [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_a_small_session_is_loaded_beside_a_large_one(whole: Deployment, api: Api, bucket: GatedBucket, cluster: str) -> None:
    held, small = bucket.add(cluster, RICH), bucket.add(f"{cluster}x", SMALL)
    whole.worker(1, light_lane=True, PART_BYTES=200_000)
    with bucket.closed(held) as gate:
        api.get(f"/enter_cluster/{held}")
        assert gate.reached.wait(30)
        assert api.load(small)["complete"] is True
        assert api.state(held) == "loading"
    api.load(held)


def test_a_lane_that_is_killed_is_started_again(whole: Deployment, api: Api, bucket: GatedBucket, cluster: str) -> None:
    port = free_port()
    worker = whole.worker(1, light_lane=True, WORKER_PORT=port)
    wait_until(lambda: _missing(port) == [], "readiness")
    before = _lanes(worker)
    assert len(before) == 2
    for lane in before:
        lane.kill()
    wait_until(lambda: _missing(port) == ["starting"], "the loss to be seen")
    wait_until(lambda: _missing(port) == [], "readiness")
    assert worker.said.count("ended by itself, and is started again") == 2
    assert api.load(bucket.add(cluster, SMALL))["complete"] is True


def test_a_lane_that_holds_a_message_and_runs_nothing_ends_and_comes_back(
    whole: Deployment, api: Api, bucket: GatedBucket, cluster: str
) -> None:
    port = free_port()
    worker = whole.worker(1, WORKER_PORT=port)
    wait_until(lambda: _missing(port) == [], "readiness")
    (lane,) = _lanes(worker)
    (pool,) = lane.children()
    pool.suspend()
    ref = bucket.add(cluster, SMALL)
    api.get(f"/enter_cluster/{ref}")
    wait_until(lambda: _missing(port) == ["stuck"], "the wedge to be seen")
    wait_until(lambda: _missing(port) == [], "readiness", 60)
    assert "lane takes no tasks any more" in worker.said
    assert _gone([lane, pool])
    assert api.load(ref)["complete"] is True


@pytest.mark.parametrize("how", ["sigquit", "sigterm twice", "sigint twice", "parent killed"])
def test_an_end_leaves_no_process(whole: Deployment, api: Api, bucket: GatedBucket, cluster: str, how: str) -> None:
    ref = bucket.add(cluster, SMALL)
    worker = whole.worker(1, light_lane=True, WORKER_PORT=free_port(), WORKER_GRACE=60 if "twice" in how else 2)
    processes = psutil.Process(worker.process.pid).children(recursive=True)
    with bucket.closed(ref) as gate:
        api.get(f"/enter_cluster/{ref}")
        assert gate.reached.wait(30)
        began = time.monotonic()
        number = {"sigq": signal.SIGQUIT, "sigt": signal.SIGTERM, "sigi": signal.SIGINT, "pare": signal.SIGKILL}[how[:4]]
        worker.process.send_signal(number)
        if "twice" in how:
            wait_until(lambda: '"ending"' in worker.said, "the first to be heard")
            worker.process.send_signal(number)
        assert worker.process.wait(40) == (-signal.SIGKILL if how == "parent killed" else 0)
        wait_until(lambda: _gone(processes), "the end of all")
        assert time.monotonic() - began < 40, "the grace was waited for"
    whole.worker()
    assert api.load(ref, 60)["complete"] is True
