"""Workers that are killed, frozen, or come too late: no session is ever wedged, and no stale load shows."""

from __future__ import annotations

import signal
from threading import Event

from redis import Redis

from tests.gated_bucket import GatedBucket
from tests.integration.conftest import RICH, SMALL, loading_process, snapshot_sizes
from tests.servers import Api, Deployment
from tests.waiting import wait_until


def _enter_up_to(reached: Event, api: Api, ref: str) -> None:
    api.get(f"/enter_cluster/{ref}")
    assert reached.wait(20)


def test_a_killed_workers_load_is_taken_over_by_the_next_caller(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    whole, api = own
    first = whole.a_worker()
    with bucket.closed(ref) as gate:
        _enter_up_to(gate.reached, api, ref)
        first.kill()
        assert api.state(ref) == "loading", "its lease has not run out yet"
        whole.worker()
    record = api.load(ref)
    assert record["attempt"] == 2
    assert record["progress"]["files_read"] == record["progress"]["files_total"] == 11


def test_a_load_that_kills_its_workers_is_failed_after_the_attempts(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    whole, api = own
    for _attempt in range(2):
        with bucket.closed(ref) as gate:
            worker = whole.a_worker()
            wait_until(lambda: api.get(f"/enter_cluster/{ref}").status_code == 202 and gate.reached.is_set(), "a load", 20)
            worker.kill()
    wait_until(lambda: api.get(f"/enter_cluster/{ref}").status_code == 503, "the load is given up", 10)
    refused = api.get(f"/enter_cluster/{ref}")
    assert refused.status_code == 503
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    problem = refused.json()
    assert (problem["code"], problem["cause"]) == ("load_failed", "load_crashed")
    assert refused.headers["content-type"] == "application/problem+json"
    record = api.get(f"/sessions/{ref}").json()
    assert record["state"] == "failed"
    assert record["error"]["code"] == "load_crashed"
    assert "2 attempts" in record["error"]["message"]
    assert api.tasks(ref).status_code == 503
    wait_until(lambda: api.get(f"/enter_cluster/{ref}").status_code == 202, "it may be tried again", 10)
    whole.worker()
    assert api.load(ref)["attempt"] == 1


def test_a_killed_child_of_a_worker_is_replaced_without_a_caller(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    """Out of memory usually kills only the process that loads; its task goes back into the queue at once."""
    ref = bucket.add(cluster, SMALL)
    whole, api = own
    worker = whole.a_worker()
    with bucket.closed(ref) as gate:
        _enter_up_to(gate.reached, api, ref)
        gate.reached.clear()
        loading_process(worker).kill()
        assert gate.reached.wait(20)
    record = api.load(ref)
    assert record["attempt"] == 2
    assert record["progress"] | {"phase": ""} == {
        "files_total": 11,
        "files_read": 11,
        "files_failed": 0,
        "bytes_total": 199061,
        "bytes_read": 199061,
        "events": 265,
        "phase": "",
    }


def test_a_frozen_worker_writes_nothing_once_it_wakes(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    ref = bucket.add(cluster, SMALL)
    whole, api = own
    frozen = whole.a_worker()
    with bucket.closed(ref, first=1) as gate:
        _enter_up_to(gate.reached, api, ref)
        frozen.signal(signal.SIGSTOP)
        whole.worker()
        record = api.load(ref)
        assert record["attempt"] == 2
        gate.open.set()
        frozen.signal(signal.SIGCONT)
        wait_until(lambda: "load given up" in frozen.said, "the frozen worker sees that it is too late")
    frozen.kill()
    assert api.get(f"/sessions/{ref}").json() | {"expires_at": ""} == record | {"expires_at": ""}
    assert api.tasks(ref).status_code == 200


def test_a_load_that_waits_longer_than_its_lease_keeps_its_place(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    """Each visit after a lease sends its message again: the one that comes first begins the load, the others find nothing to do."""
    ref = bucket.add(cluster, SMALL)
    whole, _ = own
    whole.without_workers()
    api = whole.api(LEASE=0.3)
    queued_at = api.get(f"/enter_cluster/{ref}").json()["status"]["queued_at"]
    with whole.redis.client(whole.database) as redis:
        (queue,) = redis.scan_iter("rhs:celery:ray-history.loads.*")
        wait_until(lambda: api.get(f"/enter_cluster/{ref}").status_code == 202 and redis.llen(queue) >= 3, "sent again", 20)
    worker = whole.worker()
    wait_until(lambda: api.state(ref) == "loaded" and worker.said.count("nothing to begin") >= 2, "loaded, once", 20)
    record = api.get(f"/sessions/{ref}").json()
    assert (record["attempt"], record["queued_at"]) == (1, queued_at)
    assert set(bucket.event_reads(ref).values()) == {1}, "it was loaded more than once"


def test_what_a_killed_worker_left_does_not_count_twice(own: tuple[Deployment, Api], bucket: GatedBucket, cluster: str) -> None:
    """The bytes that the budget counts are those that are there."""
    ref = bucket.add(cluster, RICH)
    whole, api = own
    worker = whole.a_worker()
    api.load(ref)
    with whole.redis.client(whole.database) as redis:
        size = _counted(redis, cluster)
        api.client.delete(f"/sessions/{ref}")
        with bucket.closed(ref) as gate:
            _enter_up_to(gate.reached, api, ref)
            loading_process(worker).kill()
        assert api.load(ref)["attempt"] == 2
        assert abs(_counted(redis, cluster) - size) < 100


def _counted(redis: Redis, cluster: str) -> int:
    """Bytes that the eviction index knows of a session."""
    (size,) = (size for member, size in snapshot_sizes(redis).items() if cluster in member)
    return size
