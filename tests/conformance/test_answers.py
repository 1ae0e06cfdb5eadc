"""Answers of recorded sessions equal those of the live dashboard while they ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.recording import Recording
from tests.conformance.replay import Scope, Server, replay
from tests.conformance.sessions import SESSIONS

TAG_FLOOR = 99.0
LEAF_FLOOR = 99.8
# Fewer tags would mean that answers were left out, not that they are right.
TAGS = 45


@pytest.mark.parametrize("scope", ["cookie", "path"])
@pytest.mark.parametrize("name", SESSIONS)
def test_answers_equal_the_live_ones(history_server: str, recorded: Path, name: str, scope: Scope) -> None:
    cluster, ref = SESSIONS[name]
    with Server(history_server, ref, scope) as server:
        score = replay(server, Recording(recorded / "live" / cluster / ref.session))
    assert len(score.tags) >= TAGS, sorted(score.tags)
    wrong = score.below(TAG_FLOOR)
    assert not wrong, "\n".join(wrong)
    assert score.percent >= LEAF_FLOOR, "\n".join(score.below(100.0))
