"""Single faults of the load protocol, on each server: what must not be lost, wedged, or said wrongly."""

from __future__ import annotations

import os

import pytest

from shared.errors import RecordMissing, StaleGeneration, StoreFull
from shared.store.protocol.ledger import Step
from tests.integration.protocol_store import SESSION, Store
from tests.servers import RedisServer
from workers.load_run import LoadRun

PHASES = [("parse", 1), ("publish", 1)]


def taken(store: Store, generation: str) -> LoadRun:
    """A new holder of the load's next step."""
    run = store.run(generation)
    assert isinstance(run.take_step(1, "message", redelivered=False), Step)
    return run


def test_a_load_whose_worker_is_gone_begins_anew_with_the_next_visits_message(any_redis: RedisServer) -> None:
    store = Store(any_redis)
    store.begun(store.visit().enqueue).put({"meta": b"x"})
    store.workers_lost()
    entry = store.visit()
    assert entry.enqueue
    assert store.run(entry.enqueue).begin(redelivered=False) == ("begun", 2)
    # The same message again, while the second attempt runs.
    assert store.run(entry.enqueue).begin(redelivered=False)[0] == "running"


def test_a_worker_that_is_back_before_its_revival_goes_on(any_redis: RedisServer) -> None:
    store = Store(any_redis)
    run = store.begun(store.visit().enqueue)
    store.workers_lost()
    entry = store.visit()
    run.put({"meta": b"x"})
    assert store.run(entry.enqueue).begin(redelivered=False)[0] == "running"
    run.publish_snapshot()
    assert store.record()["complete"] is True


def test_who_lost_a_step_cannot_end_the_load(any_redis: RedisServer) -> None:
    store = Store(any_redis)
    generation = store.visit().enqueue
    store.begun(generation).plan(PHASES)
    slow = taken(store, generation)
    store.workers_lost()
    second = taken(store, generation)
    slow.fail("storage_unavailable", "seen by one who lost the step", retryable=True, retry_after=5)
    assert second.complete_step() == 1
    assert store.record()["state"] == "loading"


def test_a_snapshot_lost_while_it_is_written_is_an_error(any_redis: RedisServer) -> None:
    store = Store(any_redis)
    run = store.begun(store.visit().enqueue)
    run.put({"meta": b"x"})
    store.redis.delete(store.keys().snapshot(run.snapshot))
    with pytest.raises(RecordMissing):
        run.put({"b:0": b"rows"})
    with pytest.raises(RecordMissing):
        run.publish_snapshot()
    assert not store.loaded()


def test_losses_that_redis_lost_are_not_taken_for_none(any_redis: RedisServer) -> None:
    store = Store(any_redis)
    generation = store.visit().enqueue
    root = store.begun(generation)
    root.plan(PHASES)
    parse = taken(store, generation)
    parse.put({"meta": b"x"})
    parse.loss("a file", "storage_unavailable", "why")
    parse.progress(files_total=2, files_read=1, files_failed=1)
    parse.complete_step()
    store.redis.delete(store.keys().progress(root.snapshot))
    with pytest.raises(RecordMissing):
        taken(store, generation).publish_snapshot()
    assert not store.loaded()


@pytest.mark.parametrize("part", ["progress", "status"])
def test_a_snapshot_that_redis_lost_a_part_of_is_loaded_anew(any_redis: RedisServer, part: str) -> None:
    store = Store(any_redis)
    run = store.begun(store.visit().enqueue)
    run.put({"meta": b"x"})
    run.progress(files_total=1, files_read=1)
    run.publish_snapshot()
    assert store.record()["complete"] is True
    store.redis.delete(store.keys().progress(run.snapshot) if part == "progress" else store.keys().status)
    assert (store.record()["complete"], store.record()["partial"]) == (None, False)
    visit = store.visit()
    assert (visit.outcome, bool(visit.enqueue)) == ("claimed", True)


def test_a_full_redis_is_named_and_can_be_told_while_it_is_full(any_redis: RedisServer) -> None:
    store = Store(any_redis)
    run = store.begun(store.visit().enqueue)
    store.redis.config_set("maxmemory", int(store.redis.info("memory")["used_memory"]) + (3 << 20))
    try:
        with pytest.raises(StoreFull) as full:
            run.put({f"b:{number}": os.urandom(1 << 20) for number in range(8)})
        store.redis.config_set("maxmemory", 1)
        run.fail(full.value.code, str(full.value), retryable=True, retry_after=0.001)
    finally:
        store.redis.config_set("maxmemory", 0)
    assert store.record()["error"]["code"] == "store_full"
    store.check_budget()
    assert not store.leaks()
    assert store.visit().enqueue


def test_a_publish_said_twice_is_a_publish_and_overtaken_attempts_may_not(any_redis: RedisServer) -> None:
    store = Store(any_redis)
    generation = store.visit().enqueue
    first = store.begun(generation)
    first.put({"meta": b"first"})
    second = store.begun(generation, redelivered=True)
    with pytest.raises(StaleGeneration):
        first.put({"b:0": b"first"})
    with pytest.raises(StaleGeneration):
        first.publish_snapshot()
    second.put({"meta": b"second"})
    second.publish_snapshot()
    second.publish_snapshot()
    assert store.fields(SESSION, store.loaded()) == {b"meta": b"second"}
