"""The rules of docs/live-clusters.md, without sockets (with them: tests/integration/test_live_table.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.live.decision import HeadAnswer, State, after_asking, before_asking, outdated, read_answer
from shared.live.port import LiveCluster

SESSION = "session_2026-11-23_19-05-06_598956_1"
OLDER = "session_2026-11-23_19-00-40_785172_1"
MADE = datetime(2026, 11, 23, 19, 0, tzinfo=UTC)


def cluster(**changed: object) -> LiveCluster:
    values = {"namespace": "default", "name": "raycap", "uid": "u", "created": MADE, "head_service": "raycap-head-svc", **changed}
    return LiveCluster(**values)  # type: ignore[arg-type]


def test_an_absent_cluster_means_dead() -> None:
    assert before_asking(SESSION, None).state is State.DEAD


def test_a_suspended_cluster_means_dead() -> None:
    assert before_asking(SESSION, cluster(suspended=True)).state is State.DEAD


def test_a_running_cluster_is_asked() -> None:
    assert before_asking(SESSION, cluster()).state is State.ASK


def test_a_session_from_before_the_cluster_is_dead_only_beyond_any_time_zone() -> None:
    began = datetime(2026, 11, 23, 19, 5, 6, 598956, tzinfo=UTC)
    assert before_asking(SESSION, cluster(created=began + timedelta(hours=23, minutes=59))).state is State.ASK
    assert before_asking(SESSION, cluster(created=began + timedelta(hours=24, seconds=1))).state is State.DEAD


def test_without_a_head_service_only_an_older_session_is_dead() -> None:
    assert before_asking(SESSION, cluster(head_service=None)).state is State.UNKNOWN
    assert before_asking(SESSION, cluster(head_service=None, created=MADE + timedelta(hours=1))).state is State.DEAD


def test_age_proves_nothing_where_a_head_may_go_on_with_an_old_session() -> None:
    made = MADE + timedelta(days=30)
    assert before_asking(SESSION, cluster(created=made, fault_tolerant=True)).state is State.ASK
    assert before_asking(SESSION, cluster(created=made, fault_tolerant=True, head_service=None)).state is State.UNKNOWN


def test_the_head_decides() -> None:
    assert after_asking(SESSION, cluster(), HeadAnswer(SESSION)).state is State.LIVE
    dead = after_asking(SESSION, cluster(), HeadAnswer(OLDER))
    assert dead.state is State.DEAD
    assert OLDER in dead.reason


@given(st.integers(100, 599), st.binary(max_size=300))
def test_no_answer_without_a_session_name_ever_means_dead(status: int, body: bytes) -> None:
    answer = read_answer(status, body, None, cluster())
    assert after_asking(SESSION, cluster(), answer).state is State.UNKNOWN
    assert answer.problem


@given(st.integers(100, 599).filter(lambda status: status != 200))
def test_a_session_name_counts_only_with_status_200(status: int) -> None:
    assert read_answer(status, b"{}", OLDER, cluster()).session is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_whose_token_is_wrong(status: int) -> None:
    answer = read_answer(status, b"", None, cluster(auth="token", token_secret="its-secret"))
    assert answer.refused
    assert "default/its-secret" in answer.problem
    assert "X-Ray-Authorization" in read_answer(status, b"", None, cluster(auth="kubernetes")).problem
    assert "authOptions" in read_answer(status, b"", None, cluster()).problem


def test_a_kept_answer_does_not_speak_of_later_sessions() -> None:
    assert outdated(HeadAnswer(OLDER), SESSION)
    assert not outdated(HeadAnswer(SESSION), OLDER)
    assert not outdated(HeadAnswer(SESSION), SESSION)
