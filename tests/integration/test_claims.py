"""Claims, load status and eviction as Lua on every server of the matrix: any order of what callers, workers and clocks can do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from shared.errors import NoRoom, SnapshotTooLarge, StaleGeneration
from shared.sessions import Session
from shared.settings import LoadSettings, RedisSettings
from shared.store import keys
from shared.store.claims import Claims, Entry, WorkerClaims
from shared.store.client import open_async_redis, open_redis
from shared.store.eviction import Budget, Uses
from shared.store.load_status import read_status
from tests.servers import RedisServer
from workers.load_run import LoadRun

SESSION = Session("ns", "cluster", "session_2026-01-01_00-00-00_000000_1")
S = SESSION.key
_T = TypeVar("_T")


class Store:
    """Both sides of the store on one database."""

    def __init__(self, server: RedisServer, **load: Any) -> None:
        self.settings = LoadSettings(**load)
        redis = RedisSettings(redis_url=server.url(15))
        self.loop = asyncio.new_event_loop()
        self.redis: Redis = open_redis(redis)
        self.asynchronous = open_async_redis(redis)
        self.redis.flushdb()
        self.claims = Claims(self.asynchronous, self.settings)
        self.worker = WorkerClaims(self.redis, self.settings)
        self.budget = Budget(self.redis, self.worker, self.settings)

    def wait(self, call: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(call)

    def enter(self, *, force: bool = False) -> Entry:
        return self.wait(self.claims.enter(S, force=force))

    def record(self) -> dict[str, Any]:
        return self.wait(read_status(self.asynchronous, SESSION)).record

    def run(self, generation: str, session: Session = SESSION) -> LoadRun:
        return LoadRun(session, generation, self.redis, self.settings)

    def load(self) -> str:
        """A whole load; its generation."""
        generation = self.enter(force=True).claimed
        run = self.run(generation)
        run.start()
        with run:
            run.put({"meta": b"x"})
            run.publish()
        return generation

    def close(self) -> None:
        self.wait(self.asynchronous.aclose())
        self.loop.close()
        self.redis.close()


@pytest.fixture
def store(any_redis: RedisServer) -> Iterator[Store]:
    made = Store(any_redis)
    yield made
    made.close()


def test_one_claim_and_everybody_else_joins(store: Store) -> None:
    async def all_at_once() -> list[Entry]:
        return await asyncio.gather(*(store.claims.enter(S) for _ in range(50)))

    entries = store.wait(all_at_once())
    assert sorted(entry.outcome for entry in entries) == ["claimed"] + ["joined"] * 49
    assert all(not entry.generation for entry in entries), "nothing is published"


def test_a_load_from_claim_to_marker(store: Store) -> None:
    assert store.record()["state"] == "absent"
    generation = store.enter().claimed
    assert store.record()["state"] == "queued"
    run = store.run(generation)
    assert run.start() == 1
    with run:
        run.progress("parsing", files_total=2, files_read=1)
        assert store.record()["progress"]["phase"] == "parsing"
        run.put({"meta": b"m", "d:x": b"12345"})
        assert store.enter() == Entry("joined")
        run.publish()
    assert store.enter() == Entry("loaded", generation)
    record = store.record()
    assert (record["state"], record["complete"], record["attempt"]) == ("loaded", True, 1)
    assert int(store.redis.hget(keys.SIZES, keys.member(S, generation)) or 0) == len("metad:x") + 6
    # What is written last must not shorten what publishing has prolonged.
    for name in store.redis.scan_iter(f"*{S}*"):
        assert store.redis.ttl(name) > store.settings.snapshot_ttl - 100, name


def test_a_stale_generation_can_do_nothing(store: Store) -> None:
    old = store.enter().claimed
    stale = store.run(old)
    stale.start()
    store.redis.delete(keys.claim(S))  # its lease ran out
    new = store.enter().claimed
    assert new > old
    before = {name: store.redis.dump(name) for name in store.redis.scan_iter("*")}
    assert store.worker.start(S, old) == 0
    assert store.worker.start(S, old, again=True) == 0
    assert not store.worker.renew(S, old, 100)
    assert store.worker.publish(S, old, complete=True) is None
    assert not store.worker.fail(S, old, "code", "message", retryable=True, retry_after=1)
    with pytest.raises(StaleGeneration), stale:
        pass
    assert {name: store.redis.dump(name) for name in store.redis.scan_iter("*")} == before


def test_what_a_stale_load_writes_has_a_ttl_and_never_shows(store: Store) -> None:
    generation = store.enter().claimed
    run = store.run(generation)
    run.start()
    with pytest.raises(StaleGeneration), run:
        store.wait(store.claims.drop(S))
        # It does not know yet.
        run.loss("file", "code", "message")
        run.put({"meta": b"x"})
        run.publish()
    assert store.record()["state"] == "absent"
    store.budget.sweep()
    assert store.enter().outcome == "claimed"


def test_the_same_message_twice_is_one_load(store: Store) -> None:
    generation = store.enter().claimed
    assert store.worker.start(S, generation) == 1
    assert store.worker.start(S, generation) == 0, "it runs already"
    assert store.worker.start(S, generation, again=True) == 2, "its worker was lost"
    store.redis.delete(keys.claim(S))
    assert store.worker.start(S, generation, again=True) == 3, "and was noticed late"


def test_a_queued_load_keeps_its_generation_when_its_claim_runs_out(store: Store) -> None:
    generation = store.enter().claimed
    store.redis.delete(keys.claim(S))
    assert store.enter() == Entry("claimed", claimed=generation)
    store.redis.delete(keys.claim(S))
    assert store.worker.start(S, generation) == 1, "nobody has asked since: it may go on"
    assert store.worker.start(S, generation) == 0


def test_failures_wait_and_name_their_reason(store: Store) -> None:
    generation = store.enter().claimed
    store.run(generation).start()
    assert store.worker.fail(S, generation, "some_code", "why", retryable=True, retry_after=30)
    entry = store.enter()
    assert entry.outcome == "failed"
    assert 29 < entry.retry_after <= 30
    record = store.record()
    assert (record["state"], record["error"]) == ("failed", {"code": "some_code", "message": "why", "retryable": True})
    assert store.enter(force=True).outcome == "claimed"
    assert store.record()["error"] is None


def test_attempts_are_counted_until_a_load_ends(any_redis: RedisServer) -> None:
    store = Store(any_redis, load_attempts=3)
    for attempt in (1, 2, 3):
        assert store.worker.start(S, store.enter().claimed) == attempt
        store.redis.delete(keys.claim(S))
    assert store.enter().outcome == "failed"
    assert store.record()["error"]["code"] == "load_crashed"
    store.redis.hset(keys.status(S), "retry_at", 0)
    assert store.worker.start(S, store.enter().claimed) == 1
    store.close()


def test_loading_anew_keeps_the_former_snapshot_until_the_new_one_is_whole(store: Store) -> None:
    old = store.load()
    new = store.enter(force=True)
    assert (new.outcome, new.generation) == ("loaded", old)
    run = store.run(new.claimed)
    run.start()
    with run:
        run.put({"meta": b"half"})
        assert store.enter() == Entry("loaded", old)
        assert store.record()["state"] == "loaded"
        run.publish()
    assert store.enter() == Entry("loaded", new.claimed)
    assert 0 < store.redis.pttl(keys.snapshot(S, old)) <= store.settings.snapshot_grace * 1000
    assert store.redis.hkeys(keys.SIZES) == [keys.member(S, new.claimed).encode()]


def test_loading_anew_may_fail_without_harm(store: Store) -> None:
    old = store.load()
    new = store.enter(force=True).claimed
    store.run(new).start()
    assert store.worker.fail(S, new, "code", "why", retryable=True, retry_after=1)
    assert store.enter() == Entry("loaded", old)
    assert store.record()["state"] == "loaded"
    assert store.redis.get(keys.attempts(S)) is None, "failed attempts to load anew add up"


@pytest.mark.parametrize("ending", ["publish", "fail"])
def test_a_snapshot_may_be_evicted_while_it_is_loaded_anew(store: Store, ending: str) -> None:
    old = store.load()
    new = store.enter(force=True).claimed
    run = store.run(new)
    run.start()
    with run:
        store.worker.drop(S, old)
        assert store.record()["state"] in ("queued", "loading")
        assert store.enter().outcome == "joined"
        if ending == "publish":
            run.put({"meta": b"x"})
            run.publish()
            assert store.enter() == Entry("loaded", new)
        else:
            run.fail("code", "why", retryable=True, retry_after=60)
            assert store.record()["error"]["code"] == "code"


def test_a_failed_load_leaves_no_status_where_there_was_none(store: Store) -> None:
    store.load()
    new = store.enter(force=True).claimed
    store.redis.delete(keys.status(S))
    assert store.worker.fail(S, new, "code", "why", retryable=True, retry_after=1)
    assert not store.redis.exists(keys.status(S))


def test_a_load_that_begins_again_begins_from_nothing(store: Store) -> None:
    generation = store.enter().claimed
    for again in (False, True):
        run = store.run(generation)
        run.start(again=again)
        assert store.record()["progress"]["events"] == 0
        with run:
            run.put({f"field:{again}": b"x"})
            run.progress("parsing", events=7)
            run.loss("file", "code", "message")
    assert store.redis.hkeys(keys.snapshot(S, generation)) == [b"field:True"]
    assert store.redis.hvals(keys.SIZES) == [str(len("field:True") + 1).encode()]
    assert store.record()["progress"]["events"] == 7
    assert store.record()["loss_count"] == 1


def test_partial_snapshots_are_loaded_again_at_a_later_visit(store: Store) -> None:
    generation = store.enter().claimed
    run = store.run(generation)
    run.start()
    with run:
        run.loss("some/file", "bad_gzip", "damaged")
        run.put({"meta": b"x"})
        run.publish()
    record = store.record()
    assert (record["complete"], record["losses"]) == (False, [{"file": "some/file", "code": "bad_gzip", "message": "damaged"}])
    assert store.enter() == Entry("loaded", generation), "not yet"
    store.redis.hset(keys.status(S), "retry_at", 0)
    entry = store.enter()
    assert (entry.outcome, entry.generation) == ("loaded", generation)
    assert entry.claimed > generation
    assert store.enter() == Entry("loaded", generation), "one load is enough"


def test_steps_that_are_done_again_count_once(store: Store) -> None:
    generation = store.enter().claimed
    first = store.run(generation)
    first.start()
    with first:
        first.progress("listing", files_total=3)
        first.hand_over()
    assert store.worker.start(S, generation, again=True) == 0, "its canvas is on the queue"
    for _ in range(3):
        step = store.run(generation)
        assert step.begin_step("parse:0")
        step.progress("parsing", files_read=1, events=100)
        step.put({"t:x": b"y" * 50})
        # ... and its worker is lost.
    last = store.run(generation)
    assert last.begin_step("parse:0") == 4
    with last:
        last.progress("parsing", files_read=1, events=100)
        last.put({"t:x": b"y" * 50})
        last.forget(["l:0"])
        last.hand_over()
    assert store.run(generation).begin_step("parse:0") is None, "done is done"
    assert store.record()["progress"] | {"phase": ""} == {
        "files_total": 3,
        "files_read": 1,
        "files_failed": 0,
        "bytes_total": 0,
        "bytes_read": 0,
        "events": 100,
        "phase": "",
    }
    assert store.redis.hvals(keys.SIZES) == [b"53"]


def test_losses_are_named_once_and_counted_beyond_what_is_kept(store: Store) -> None:
    run = store.run(store.enter().claimed)
    for number in range(250):
        run.loss(f"file-{number:03}", "code", "m" * 1000)
        run.loss(f"file-{number % 100:03}", "code", "again")
    losses, count = run.losses()
    assert (len(losses), count) == (200, 250)
    assert losses[0] == ("file-000", "code", "m" * 500)


def test_the_budget_is_kept_by_evicting_what_was_used_longest_ago(any_redis: RedisServer) -> None:
    store = Store(any_redis, snapshot_budget=100, snapshot_grace=10)
    sessions = [Session("ns", f"c{number}", SESSION.session) for number in range(4)]
    generations = []
    for session in sessions[:2]:
        generation = store.wait(store.claims.enter(session.key)).claimed
        run = store.run(generation, session)
        run.start()
        with run:
            run.put({"meta": b"x" * 40})
            run.publish()
        generations.append(generation)
    third = store.run(store.wait(store.claims.enter(sessions[2].key)).claimed, sessions[2])
    third.start()
    with third, pytest.raises(NoRoom, match="in use"):
        third.put({"meta": b"x" * 40})
    long_ago = {keys.member(s.key, g): 1.0 for s, g in zip(sessions, generations, strict=False)}
    store.redis.zadd(keys.INDEX, long_ago)
    store.wait(Uses(store.asynchronous).note(sessions[0].key, generations[0]))
    third.put({"meta": b"x" * 40})
    assert [store.wait(store.claims.enter(s.key)).outcome for s in sessions[:2]] == ["loaded", "claimed"]
    with pytest.raises(SnapshotTooLarge, match="RAY_HISTORY_SNAPSHOT_BUDGET"):
        third.put({"more": b"x" * 100})
    assert store.redis.hlen(keys.snapshot(sessions[2].key, third.generation)) == 1, "it was written before it was refused"
    store.close()


def test_what_expired_leaves_the_index(store: Store) -> None:
    generation = store.load()
    store.redis.delete(keys.snapshot(S, generation))
    store.redis.hset(keys.SIZES, "nobody|1", 5)
    store.budget.sweep()
    assert store.redis.zcard(keys.INDEX) == store.redis.hlen(keys.SIZES) == 0
    assert store.enter().outcome == "claimed", "a marker without its snapshot counts for nothing"


class Protocol(RuleBasedStateMachine):
    """Callers, up to three workers and a clock, in any order."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.store.redis.flushdb()
        self.messages: list[str] = []
        self.runs: list[str] = []
        self.written: set[str] = set()
        self.published = ""

    @rule(force=st.booleans())
    def enter(self, force: bool) -> None:
        entry = self.store.enter(force=force)
        if entry.claimed:
            self.messages.append(entry.claimed)
        assert (entry.outcome == "loaded") == bool(self.published)
        assert entry.generation == self.published

    @rule(data=st.data(), again=st.booleans())
    def start(self, data: st.DataObject, again: bool) -> None:
        if not self.messages:
            return
        generation = data.draw(st.sampled_from(self.messages))
        if self.store.worker.start(S, generation, again=again):
            # A second worker under one generation is only there when the first is lost.
            self.runs = [*set(self.runs) - {generation}, generation]
            self.written.discard(generation)
        if not again:
            self.messages.remove(generation)

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        if self.runs:
            run = self.store.run(data.draw(st.sampled_from(self.runs)))
            run.put({"meta": run.generation.encode()})
            run.progress("parsing", events=1)
            run.loss("f", "c", "m")
            self.written.add(run.generation)

    @rule(data=st.data(), complete=st.booleans())
    def publish(self, data: st.DataObject, complete: bool) -> None:
        if self.runs:
            generation = data.draw(st.sampled_from(self.runs))
            held = self._claim() == generation
            former = self.store.worker.publish(S, generation, complete=complete)
            assert (former is not None) == (held and generation in self.written)
            if former is not None:
                assert former == self.published
                self.published = generation
                self.runs.remove(generation)

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        if self.runs:
            generation = data.draw(st.sampled_from(self.runs))
            held = self._claim() == generation
            assert self.store.worker.fail(S, generation, "c", "m", retryable=True, retry_after=0.001) == held
            if held:
                self.written.discard(generation)

    @rule()
    def lease_runs_out(self) -> None:
        self.store.redis.delete(keys.claim(S))

    @rule()
    def evict(self) -> None:
        dropped = self.store.wait(self.store.claims.drop(S))
        assert dropped == self.published or not self.published
        self.published = ""
        self.written.clear()

    @rule()
    def evict_for_room(self) -> None:
        if self.published:
            self.store.worker.drop(S, self.published)
            self.written.discard(self.published)
            self.published = ""

    @rule()
    def snapshot_expires(self) -> None:
        if self.published:
            self.store.redis.delete(keys.snapshot(S, self.published))
            self.written.discard(self.published)
            self.published = ""

    @invariant()
    def what_is_published_is_whole(self) -> None:
        if self.published:
            assert self.store.redis.get(keys.loaded(S)) == self.published.encode()
            assert self.store.redis.hget(keys.snapshot(S, self.published), "meta") == self.published.encode()

    @invariant()
    def everything_has_a_ttl(self) -> None:
        for name in self.store.redis.scan_iter(f"*{S}*"):
            assert self.store.redis.ttl(name) >= 0, name

    @invariant()
    def the_status_fits(self) -> None:
        status = self.store.wait(read_status(self.store.asynchronous, SESSION))
        if self.published:
            assert status.state == "loaded"
        elif self._claim():
            assert status.state in ("queued", "loading")
            assert not status.lost

    def _claim(self) -> str:
        return (self.store.redis.get(keys.claim(S)) or b"").decode()


def test_the_protocol_holds_in_any_order(any_redis: RedisServer) -> None:
    store = Store(any_redis, load_attempts=100, snapshot_grace=600)
    machine = type("Protocol", (Protocol,), {"store": store})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=checks)
    )
    store.redis.flushdb()
    store.close()
