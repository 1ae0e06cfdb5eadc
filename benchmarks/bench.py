"""What the measures of one run share: sizes, the directory of sessions, and the server."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import Server
from benchmarks.sessions import SessionPlan, SyntheticSession, ensure, ensure_recorded
from shared.sessions import Session


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many tasks sessions have, and how often what is measured. `page` are the rows of one answer, `restarts` those of the API."""

    medium: int
    large: int
    small: int
    page: int
    small_files: int
    rounds: int
    large_rounds: int
    restarts: int
    tasks_by_id: int
    indexed_sessions: int
    seconds: float


FULL = Sizes(
    medium=100_000, large=1_000_000, small=20_000, page=10_000, small_files=5_000,
    rounds=3, large_rounds=2, restarts=6, tasks_by_id=500, indexed_sessions=10_000, seconds=4,
)  # fmt: skip
QUICK = Sizes(
    medium=20_000, large=60_000, small=20_000, page=2_000, small_files=500,
    rounds=3, large_rounds=1, restarts=3, tasks_by_id=200, indexed_sessions=2_000, seconds=1,
)  # fmt: skip


class Bench:
    """One run. Sessions are generated into `cache` when they are first asked for; `directory` goes with the run."""

    def __init__(self, sizes: Sizes, cache: Path, directory: Path, server: Server) -> None:
        self.sizes = sizes
        self.server = server
        self.directory = directory
        self.bucket = cache / "bucket"

    def session(self, plan: SessionPlan) -> SyntheticSession:
        return ensure(plan, self.bucket)

    def medium(self, *, gz: bool = False) -> SyntheticSession:
        return self.session(SessionPlan(self.sizes.medium, gz=gz))

    def large(self) -> SyntheticSession:
        return self.session(SessionPlan(self.sizes.large))

    def recorded(self) -> Session:
        return ensure_recorded(self.bucket)

    def check_loaded(self, synthetic: SyntheticSession) -> None:
        """A load that lost or invented something was not worth measuring. Raises AssertionError."""
        found = self.server.answer(synthetic.plan.session, "api/v0/tasks?limit=1&exclude_driver=false")["data"]["result"]
        assert found["total"] == synthetic.attempts, (found["total"], synthetic.attempts)
        assert not found["partial_failure_warning"], found["partial_failure_warning"]


def say(text: str) -> None:
    print(text, flush=True)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)
