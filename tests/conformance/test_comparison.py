"""The comparison itself notices what is wrong, and excuses only what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.comparison import Comparison
from tests.conformance.json_tree import to_ms
from tests.conformance.recording import RESOURCES, Recording
from tests.conformance.rules import Rule, rule_for

STARTED = 1795460677.0
EARLY, LATE = 1795460500000, 1795460700000
ROWS = [{"task_id": f"{i:048x}", "attempt_number": 0, "state": "FINISHED", "end_time_ms": EARLY} for i in range(4)]


def _list(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"result": {"total": len(rows), "num_filtered": len(rows), "result": rows}}}


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    attempts = [{**ROWS[0], "attempt_number": number} for number in (1, 0)]
    answer = {
        "n": 1,
        "tag": "tasks",
        "method": "GET",
        "url": RESOURCES["tasks"],
        "req_headers": {},
        "status": 200,
        "body": json.dumps(_list([*attempts, *ROWS[1:]])),
    }
    (tmp_path / "001.json").write_text(json.dumps(answer))
    (tmp_path / "index.json").write_text(json.dumps({"capture_started": STARTED, "captured_at": STARTED + 5, "requests": [{"n": 1}]}))
    return Recording(tmp_path)


def _compared(recording: Recording, live: Any, served: Any, rule: Rule | None = None, **options: Any) -> Comparison:
    compared = Comparison(recording, rule or rule_for("tasks", RESOURCES["tasks"], "", "2.60.0"), "tasks", **options)
    compared.walk(live, served)
    return compared


def test_equal_answers(recording: Recording) -> None:
    compared = _compared(recording, _list(ROWS), _list(ROWS))
    assert (compared.equal, compared.differences) == (compared.leaves, [])
    assert compared.leaves == 4 * 4 + 2 + 1


@pytest.mark.parametrize(
    ("served", "paths"),
    [
        ([{**ROWS[0], "state": "FAILED"}, *ROWS[1:]], ["data.result.result.#.state"]),
        ([{**ROWS[0], "end_time_ms": EARLY + 6}, *ROWS[1:]], ["data.result.result.#.end_time_ms"]),
        ([{**ROWS[0], "state": None}, *ROWS[1:]], ["data.result.result.#.state"]),
        ([{**ROWS[0], "more": 1}, *ROWS[1:]], ["data.result.result.#.more"]),
        (ROWS[::-1], ["data.result.result.#(order)"]),
    ],
    ids=["value", "time", "null", "more", "order"],
)
def test_wrong_rows(recording: Recording, served: list[dict[str, Any]], paths: list[str]) -> None:
    assert [found.path for found in _compared(recording, _list(ROWS), _list(served)).differences] == paths


def test_rows_dropped_and_invented(recording: Recording) -> None:
    fewer = _compared(recording, _list(ROWS), _list(ROWS[:3]))
    assert {found.path for found in fewer.differences} >= {"data.result.total", "data.result.result.#.task_id"}
    assert _compared(recording, _list(ROWS[:3]), _list(ROWS)).differences


def test_what_changed_after_the_capture_is_excused_wherever_it_is_shown(recording: Recording) -> None:
    changed = [{**ROWS[0], "state": "FAILED", "end_time_ms": LATE}, *ROWS[1:]]
    recording.find_late(lambda url: json.dumps(_list(changed)) if url == RESOURCES["tasks"] else "[]")
    assert recording.late_counts["tasks"] == 1
    assert _compared(recording, _list(ROWS), _list(changed)).differences == []
    without_times = [[{**row, "end_time_ms": None} for row in rows] for rows in (ROWS, changed)]
    assert _compared(recording, *map(_list, without_times)).differences == []
    other = [ROWS[0], {**ROWS[1], "state": "FAILED"}, *ROWS[2:]]
    assert _compared(recording, _list(ROWS), _list(other)).differences


def test_another_attempt_is_compared_with_itself(recording: Recording) -> None:
    live = _list([{**ROWS[0], "attempt_number": 0}])
    assert _compared(recording, live, _list([{**ROWS[0], "attempt_number": 1}]), truncated=True).differences == []
    wrong = _compared(recording, live, _list([{**ROWS[0], "attempt_number": 1, "state": "FAILED"}]), truncated=True)
    assert [found.path for found in wrong.differences] == ["data.result.result.#.state"]
    assert _compared(recording, live, _list([{**ROWS[0], "attempt_number": 9}]), truncated=True).differences


@pytest.mark.parametrize(
    ("live", "served", "grows", "wrong"),
    [
        ("a\nb\nc", "a\nb\nc", False, 0),
        ("a\nb\nc", "a\nx\nc", False, 1),
        ("a\nb\nc", "a\nb", False, 1),
        ("a\nb\nc", "a\nb\nc\nd", False, 1),
        ("a\nb\nc", "a\nb\nc\nd", True, 0),
        ("a\nb\nc", "a\nb\nd", True, 1),
    ],
)
def test_texts(recording: Recording, live: str, served: str, grows: bool, wrong: int) -> None:
    compared = Comparison(recording, Rule(), grows=grows)
    compared.text(live, served)
    assert sum(found.leaves for found in compared.differences) == wrong


def test_only_what_the_table_names_is_excused(recording: Recording) -> None:
    rule = rule_for("nodes", "/nodes?view=summary", "", "2.60.0")
    live = {"data": {"summary": [{"cpu": 5, "raylet": {"nodeId": "a", "state": "ALIVE", "numWorkers": 3}}]}}
    bare = {"data": {"summary": [{"raylet": {"nodeId": "a", "state": "DEAD"}}]}}
    assert [found.path for found in _compared(recording, live, bare, rule).differences] == ["data.summary.#.raylet.state"]


@pytest.mark.parametrize(("value", "ms"), [(1795460677, 1795460677000), ("1795460677000", 1795460677000), (3, 0), (True, 0), ("x", 0)])
def test_points_in_time_whatever_their_unit(value: Any, ms: float) -> None:
    assert to_ms(value) == ms
