"""Runs side by side, each job on a stack that it keeps from run to run as long as it stays usable."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sessions import SyntheticSession
from tests.soak.plan import Plan
from tests.soak.run import Outcome, Soak
from tests.soak.stack import running
from tests.soak.truth import PATHS, Size, Truth, generate, learn
from tests.warm_start import WarmStart

_TOGETHER = 120
# No run reads metrics: whether several processes share them need not be settled before these are imported.
OURS = ("rich.progress", "api.app", "cli.main", "workers.load", "workers.event_files")


@dataclass
class Job:
    """One of them."""

    directory: Path
    made: dict[Size, SyntheticSession]
    truths: dict[Size, Truth]
    warm: WarmStart
    kind: tuple[str, bool] | None = None
    soak: Soak | None = None
    open: ExitStack = field(default_factory=ExitStack)

    def run(self, plan: Plan) -> Outcome:
        try:
            outcome = self._on_stack(plan).run(plan)
        except Exception as exc:  # noqa: BLE001 - of the soak itself: said, and the other runs go on
            outcome = Outcome(plan, problems=[f"the soak itself failed: {type(exc).__name__}: {exc}"])
        if not outcome.reusable:
            self.close()
        return outcome

    def _on_stack(self, plan: Plan) -> Soak:
        if self.soak is None or self.kind != plan.stack:
            self.close()
            server, quick = plan.stack
            stack = self.open.enter_context(running(Path(tempfile.mkdtemp(dir=self.directory)), self.warm, server, quick=quick))
            self.kind, self.soak = plan.stack, Soak(stack, self.made, self.truths)
        return self.soak

    def close(self) -> None:
        self.soak = None
        self.open.close()


def find_truths(directory: Path, made: dict[Size, SyntheticSession], warm: WarmStart) -> dict[Size, Truth]:
    """From an undisturbed load of each session in one task."""
    truths: dict[Size, Truth] = {}
    with running(Path(tempfile.mkdtemp(dir=directory)), warm, "valkey", quick=True, one_task=True) as stack:
        api = stack.apis[0].api
        assert api is not None
        for size, session in made.items():
            ref = stack.add(session, f"undisturbed-{size}")
            api.load(ref)
            truths[size] = learn(session, {path: api.get(f"/sessions/{ref}/dashboard/{path}") for path in PATHS})
    return truths


def soak(plans: list[Plan], directory: Path, jobs: int, seconds: float) -> list[Outcome]:
    """All runs, `jobs` at a time, or as many as begin within `seconds` and before a signal asks to end. Prints a line for each."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    made = generate(directory)
    outcomes: list[Outcome] = []
    # Of every so many those of one kind of stack after each other. All jobs take from the one iterator.
    waiting = iter(sorted(plans, key=lambda plan: (plan.number // _TOGETHER, plan.stack, plan.number)))
    deadline = time.monotonic() + seconds

    def work(warm: WarmStart, truths: dict[Size, Truth]) -> None:
        with closing(Job(directory, made, truths, warm)) as job:
            for plan in waiting:
                outcomes.append(job.run(plan))
                print(f"[{len(outcomes)}/{len(plans)}] {outcomes[-1]}", flush=True)
                if time.monotonic() > deadline or ended.is_set():
                    return

    with closing(WarmStart(OURS)) as warm, ThreadPoolExecutor(jobs) as threads:
        truths = find_truths(directory, made, warm)
        for job in [threads.submit(work, warm, truths) for _ in range(jobs)]:
            job.result()
    return sorted(outcomes, key=lambda outcome: outcome.plan.number)
