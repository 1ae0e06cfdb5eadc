"""One run: a session is visited, a fault strikes, the session must recover, and nothing wrong may ever be said or left behind."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from itertools import count

import httpx
import psutil

from benchmarks.sessions import SyntheticSession
from tests.soak import redis_state
from tests.soak.plan import FAULTS, Plan
from tests.soak.scene import Scene
from tests.soak.stack import Stack
from tests.soak.truth import PATHS, Size, Truth
from tests.soak.visitors import Judge, Visitor, visiting

# After the lease, and for how much longer a run looks on when that is not enough.
_BAR, _LONGER = 10.0, 20.0
_CURRENT_FOR = 1.1
# Messages of killed workers stay where they are until the broker's visibility timeout.
_QUIET = 3.0
# One that was frozen, or that ended a lane, needs a while to take tasks again.
_TAKES_TASKS = 20.0
# Redis gives a message to who has waited longest: on a busy machine a few may all go to one worker by chance.
_PROBES = 30
_SHOWN = 6
# An orphan may end what it does.
_ORPHANED = 25.0


@dataclass
class Outcome:
    """What a run found. `recovery`: seconds from the next visit until the session was loaded and read rightly; None: never.

    `problems` names everything else that was not as it must be.
    """

    plan: Plan
    recovery: float | None = None
    bar: float = 0.0
    answers: int = 0
    right: int = 0
    said_failed: bool = False
    wrong: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    drift: int = 0
    publishes: int = 0
    problems: list[str] = field(default_factory=list)
    # Whether the next run may begin where this one ended.
    reusable: bool = False
    seconds: float = 0.0

    @property
    def recovered(self) -> bool:
        return self.recovery is not None and self.recovery <= self.bar

    @property
    def good(self) -> bool:
        return self.recovered and not (self.wrong or self.leaked or self.drift or self.problems) and self.publishes <= 1

    def __str__(self) -> str:
        took = "never recovered" if self.recovery is None else f"recovered in {self.recovery:.1f} s"
        found = [
            f"run {self.plan.number} of seed {self.plan.seed}: {self.plan}: {'good' if self.good else 'BAD'}: {took} (bar {self.bar:.0f} s)"
        ]
        found += [f"  wrong: {one}" for one in self.wrong[:_SHOWN]] + [f"  leaked: {one}" for one in self.leaked]
        found += [f"  {one}" for one in self.problems]
        if self.drift:
            found.append(f"  budget: {self.drift} bytes off")
        if self.publishes > 1:
            found.append(f"  one generation was published {self.publishes} times")
        return "\n".join(found)


class Soak:
    """Runs on one stack, one after the other."""

    def __init__(self, stack: Stack, made: dict[Size, SyntheticSession], truths: dict[Size, Truth]) -> None:
        self._stack = stack
        self._made = made
        self._truths = truths
        self._numbers = count()

    def run(self, plan: Plan) -> Outcome:
        began = time.monotonic()
        stack, outcome = self._stack, Outcome(plan)
        stack.mend()
        marks = stack.worker_logs()
        refs = [self._add(plan.size)]
        judge = Judge(refs[0], self._truths[plan.size])
        visitor = Visitor(stack, judge)
        scene = Scene(stack, refs[0], judge, visitor, random.Random(f"run/{plan.seed}/{plan.number}"), lambda: self._crowd(refs))
        with stack.supervised(), visiting(stack, judge, scene.visits, f"{plan.seed}/{plan.number}"):
            self._disturb(plan, scene)
            outcome.bar = stack.lease + _BAR
            self._recover(scene, outcome)
            scene.ended.set()
            for end in scene.later:
                end()
            self._look_around(scene, outcome, refs[1:])
        visitor.close()
        outcome.answers, outcome.right, outcome.wrong = judge.answers, judge.right, judge.wrong + outcome.wrong
        if outcome.recovery is not None:
            self._audit(refs, outcome)
        outcome.publishes = max(redis_state.published({log: marks.get(log, 0) for log in stack.worker_logs()}).values(), default=0)
        outcome.seconds = time.monotonic() - began
        self._clean_up(refs)
        return outcome

    def _disturb(self, plan: Plan, scene: Scene) -> None:
        first_visit = time.monotonic()
        for name, moment in zip(plan.faults, plan.moments, strict=True):
            fault = FAULTS[name]
            fault.prepare(scene)
            trap = moment.trap()
            scene.stack.set_trap(trap)
            if moment.kind != "before" and not scene.visits.is_set():
                scene.visits.set()
                scene.visitor.enter()
                first_visit = time.monotonic()
            moment.wait(scene.stack, scene.visitor, trap, first_visit)
            try:
                if moment.kind == "before":
                    scene.visits.set()
                fault.act(scene)
            finally:
                if trap:
                    trap.released.set()
                    scene.stack.set_trap(None)
        scene.visits.set()

    def _recover(self, scene: Scene, outcome: Outcome) -> None:
        """Visits from now on see the session loaded within the bar; a load that has truly failed may say so and be tried again."""
        strict = Judge(scene.ref, scene.judge.truth)
        visitor = Visitor(scene.stack, strict)
        outcome.recovery = visitor.recover(outcome.bar, _LONGER, scene.stack.retry_after)
        if strict.failed:
            outcome.said_failed = True
            outcome.bar += scene.stack.retry_after
        outcome.wrong += strict.wrong if not scene.judge.partial else []
        if outcome.recovery is None:
            outcome.problems += self._diagnosis(visitor)
        visitor.close()

    def _look_around(self, scene: Scene, outcome: Outcome, crowd: list[str]) -> None:
        """Every kind of answer once more, and a session that nobody has seen yet: do workers take tasks?"""
        if outcome.recovery is None:
            return
        strict = Judge(scene.ref, scene.judge.truth)
        visitor = Visitor(scene.stack, strict)
        if scene.judge.partial:
            # Another API process may take the partial generation for current a little longer.
            time.sleep(_CURRENT_FOR)
        for path in PATHS:
            if not visitor.read(path):
                time.sleep(0.5)
                visitor.enter()
                if not visitor.read(path):
                    outcome.problems.append(f"{path} is not answered after the recovery")
        outcome.wrong += strict.wrong
        # Snapshots in use are not evicted for a fresh one: a crowd would leave it no room.
        for ref in crowd:
            visitor.evict(ref)
        visitor.close()
        if 0 in scene.stack.ended_by_themselves():
            outcome.problems.append("a worker ended by itself with code 0")
        unused = self._probe()
        outcome.problems += unused
        outcome.reusable = not unused
        _, left = psutil.wait_procs(scene.orphans, timeout=_ORPHANED)
        for orphan in left:
            outcome.problems.append(f"process {orphan.pid} outlives its killed parent")
            orphan.kill()

    def _probe(self) -> list[str]:
        """Sessions that nobody has seen yet, until every worker that is meant to live has done something."""
        staying = [process.child for process in self._stack.workers if process.child.runs() and not process.asked_to_end]
        logs = {child.log: child.log.stat().st_size for child in staying}
        idle = list(logs)
        deadline = time.monotonic() + _TAKES_TASKS
        probes = 0
        while time.monotonic() < deadline or probes < _PROBES:
            probes += 1
            fresh = self._add("small")
            probe = Visitor(self._stack, Judge(fresh, self._truths["small"]))
            took = probe.recover(self._stack.lease + _BAR, 0, 0)
            probe.evict()
            probe.close()
            self._stack.remove(fresh)
            if took is None:
                return ["a fresh session is not loaded afterwards"]
            idle = [log for log in idle if b" received" not in log.read_bytes()[logs[log] :]]
            if not idle:
                return []
        return [f"{log.stem} lives, and takes no tasks" for log in idle]

    def _audit(self, refs: list[str], outcome: Outcome) -> None:
        for ref in refs[1:]:
            self._settle(ref)
        self._stack.quiet(_QUIET)
        with self._stack.client() as client:
            found = redis_state.audit(client, self._stack.passing)
        outcome.leaked += [*self._stack.redis.leaks(), *(f"{name}: in no index" for name in found.unindexed)]
        outcome.drift = found.drift
        outcome.problems += found.details

    def _settle(self, ref: str) -> None:
        """Visit another session until its load has ended, however it did: what is half written is no drift."""
        visitor = Visitor(self._stack, Judge(ref, self._truths["fan-out"]))
        deadline = time.monotonic() + self._stack.lease + _BAR
        while time.monotonic() < deadline and not visitor.enter() and visitor.status().get("state") != "failed":
            time.sleep(0.1)
        visitor.close()

    def _diagnosis(self, visitor: Visitor) -> list[str]:
        with self._stack.client() as client:
            names = sorted(name.decode() for name in client.scan_iter("*", count=1000))
            ttls = [f"{name} {client.pttl(name)} ms" for name in names if "celery" not in name]
        alive = [process.child.runs() for process in self._stack.workers]
        return [f"status {visitor.status()}", f"workers alive {alive}", f"keys {ttls[:40]}"]

    def _add(self, size: Size) -> str:
        return self._stack.add(self._made[size], f"s{next(self._numbers)}")

    def _crowd(self, refs: list[str]) -> None:
        refs.append(self._add("fan-out"))
        api = next(process.api for process in self._stack.apis if process.api and process.child.runs())
        with httpx.Client(base_url=api.url, timeout=5) as client:
            client.get(f"/enter_cluster/{refs[-1]}")

    def _clean_up(self, refs: list[str]) -> None:
        self._stack.mend()
        visitor = Visitor(self._stack, Judge("", self._truths["small"]))
        for ref in refs:
            visitor.evict(ref)
            self._stack.remove(ref)
        visitor.close()
        with self._stack.client() as client:
            redis_state.forget(client)
