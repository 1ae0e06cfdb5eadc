"""A part of the soak (`make soak`): real processes on which every fault strikes once, with the same seed each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.soak.jobs import OURS, Job, find_truths
from tests.soak.plan import FAULTS, Plan
from tests.soak.truth import generate
from tests.warm_start import WarmStart

_SEED = 13


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """One stack for all runs, as long as it stays usable."""
    directory = tmp_path_factory.mktemp("soak")
    made = generate(directory)
    with closing(WarmStart(OURS)) as warm, closing(Job(directory, made, find_truths(directory, made, warm), warm)) as opened:
        yield opened


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=list(FAULTS))
def test_a_session_recovers_and_nothing_wrong_is_said(job: Job, number: int) -> None:
    outcome = job.run(Plan.of(_SEED, number, stack=("valkey", True), alone=True))
    assert outcome.good, str(outcome)
    assert outcome.answers > 0
