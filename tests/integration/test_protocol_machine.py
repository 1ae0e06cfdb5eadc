"""The load protocol under any order of calls: every command said twice, attempts side by side, evictions and lost workers in between."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule, run_state_machine_as_test

from shared.errors import NoRoom, StaleGeneration
from shared.store.protocol.ledger import Step
from tests.integration.protocol_store import SESSIONS, Store
from tests.servers import RedisServer
from workers.load_run import LoadRun

PHASES = [("parse", 2), ("merge", 2), ("publish", 1)]


class Protocol(RuleBasedStateMachine):
    """Two sessions, callers, any number of workers, and a clock. `run`s are (LoadRun, is it at a step)."""

    server: RedisServer
    messages = Bundle("messages")
    runs = Bundle("runs")
    hands = Bundle("hands")

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(self.server, said_twice=True, snapshot_budget=2000, snapshot_grace=0.001, freshness=0)
        self.published: dict[tuple[str, str], str] = {}
        self.complete: dict[str, set[bytes]] = {}

    def teardown(self) -> None:
        self.store.close()

    @rule(target=messages, number=st.integers(0, 1), force=st.booleans())
    def visit(self, number: int, force: bool) -> Any:
        session = SESSIONS[number]
        entry = self.store.visit(session, force=force)
        if entry.outcome == "loaded":
            assert entry.snapshot == self.store.loaded(session)
        return (number, entry.enqueue) if entry.enqueue else multiple()

    @rule(target=runs, message=messages, redelivered=st.booleans())
    def begin(self, message: tuple[int, str], redelivered: bool) -> Any:
        number, generation = message
        run = self.store.run(generation, SESSIONS[number])
        begun, _ = run.begin(redelivered=redelivered)
        return run if begun == "begun" else multiple()

    @rule(run=runs, field=st.sampled_from("abc"), size=st.integers(1, 300))
    def write(self, run: LoadRun, field: str, size: int) -> None:
        current = self.store.current(run.session)
        try:
            run.put({field: run.snapshot.encode() + b"x" * size})
        except NoRoom:
            return
        except StaleGeneration:
            assert run.snapshot != current or self.store.planned(run)
            return
        assert run.snapshot == current
        self.complete.setdefault(run.snapshot, set()).add(field.encode())

    @rule(target=hands, run=runs)
    def plan(self, run: LoadRun) -> Any:
        try:
            run.plan(PHASES)
        except StaleGeneration:
            return multiple()
        return (run.session, run.generation, run.snapshot.rpartition(".")[2])

    @rule(target=runs, hand=hands, message=st.sampled_from(["m1", "m2"]), redelivered=st.booleans())
    def take_step(self, hand: tuple[Any, str, str], message: str, redelivered: bool) -> Any:
        session, generation, attempt = hand
        run = self.store.run(generation, session)
        step = run.take_step(int(attempt), message, redelivered=redelivered)
        if not isinstance(step, Step):
            return multiple()
        assert run.snapshot == self.store.current(session)
        return run

    @rule(run=consumes(runs))
    def complete_step(self, run: LoadRun) -> None:
        if not run.step:
            return
        try:
            run.complete_step()
        except StaleGeneration:
            return
        assert run.snapshot == self.store.current(run.session)

    @rule(run=runs)
    def publish(self, run: LoadRun) -> None:
        if run.step and not run.step.startswith("publish"):
            return
        current = self.store.current(run.session)
        loaded = self.store.loaded(run.session)
        try:
            run.publish_snapshot()
        except StaleGeneration:
            return
        assert run.snapshot in (current, loaded), "only who may write publishes, and who did so hears yes again"
        known = self.published.setdefault((run.session.key, run.generation), run.snapshot)
        assert known == run.snapshot, "one publish a generation"

    @rule(run=runs)
    def fail(self, run: LoadRun) -> None:
        current = self.store.current(run.session)
        run.fail("code", "why", retryable=True, retry_after=0.001)
        if run.snapshot == current and not run.step:
            assert self.store.current(run.session) is None

    @rule(number=st.integers(0, 1))
    def everybody_is_lost(self, number: int) -> None:
        self.store.workers_lost(SESSIONS[number])

    @rule(number=st.integers(0, 1))
    def claim_expires(self, number: int) -> None:
        self.store.expire_claim(SESSIONS[number])

    @rule(number=st.integers(0, 1), how=st.sampled_from(["drop", "hole", "evict", "expire"]))
    def lose_snapshot(self, number: int, how: str) -> None:
        self.store.lose_snapshot(SESSIONS[number], how)

    @invariant()
    def a_marker_leads_to_a_whole_snapshot(self) -> None:
        for session in SESSIONS:
            loaded = self.store.loaded(session)
            if loaded and self.store.exists(session, loaded):
                fields = self.store.fields(session, loaded)
                assert set(fields) >= self.complete.get(loaded, set())
                assert all(value.startswith(loaded.encode()) for value in fields.values()), "another attempt wrote into it"

    @invariant()
    def nothing_leaks(self) -> None:
        assert not self.store.leaks()

    @invariant()
    def the_index_knows_every_snapshot_and_its_bytes(self) -> None:
        self.store.check_budget()


def test_any_order_of_calls(any_redis: RedisServer) -> None:
    machine = type("ProtocolOn", (Protocol,), {"server": any_redis})
    run_state_machine_as_test(
        machine,
        # Without shrinking: each step is a dozen round trips.
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
