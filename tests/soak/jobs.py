"""Runs side by side: processes of their own, each with a stack that it keeps from run to run as long as it stays usable."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path

from benchmarks.sessions import SyntheticSession
from tests.soak.plan import Plan
from tests.soak.run import Outcome, Soak
from tests.soak.stack import running
from tests.soak.truth import PATHS, Size, Truth, generate, learn
from tests.soak.warm_start import WarmStart

_TOGETHER = 120


@dataclass
class Job:
    """One of these processes."""

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


_job: Job


def _begin(directory: Path, made: dict[Size, SyntheticSession], truths: dict[Size, Truth]) -> None:
    global _job  # noqa: PLW0603 - a pool's process has nowhere else to keep it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _job = Job(directory, made, truths, WarmStart())
    Finalize(None, _job.warm.close, exitpriority=9)
    Finalize(None, _job.close, exitpriority=10)


def _run(plan: Plan) -> Outcome:
    return _job.run(plan)


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
    """All runs, `jobs` at a time, or as many as end within `seconds`. Prints a line for each."""
    made = generate(directory)
    with closing(WarmStart()) as warm:
        truths = find_truths(directory, made, warm)
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + seconds
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(jobs, _begin, (directory, made, truths))
    try:
        # Of every so many those of one kind of stack after each other.
        for outcome in pool.imap_unordered(_run, sorted(plans, key=lambda plan: (plan.number // _TOGETHER, plan.stack, plan.number))):
            outcomes.append(outcome)
            print(f"[{len(outcomes)}/{len(plans)}] {outcome}", flush=True)
            if time.monotonic() > deadline:
                pool.terminate()
                break
        pool.close()
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.join()
    return sorted(outcomes, key=lambda outcome: outcome.plan.number)
