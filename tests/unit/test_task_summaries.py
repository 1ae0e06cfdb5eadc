"""Summaries of tasks by function and by lineage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ray.function_summary import summary_by_function
from shared.ray.lineage import LineageActor, LineageTask, summary_by_lineage

DRIVER = "f" * 40 + "03000000"


def _task(
    task_id: str,
    name: str = "f",
    parent: str = DRIVER,
    *,
    type_: str = "NORMAL_TASK",
    state: str = "FINISHED",
    actor: str | None = None,
    at: int | None = 100,
) -> LineageTask:
    return LineageTask(task_id, name, name, type_, state, parent, actor, at)


def _summary(tasks: list[LineageTask], actors: dict[str, LineageActor] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(summary_by_lineage(tasks, actors or {}))
    return found


def _shape(groups: list[dict[str, Any]]) -> list[Any]:
    """Names, types and children only."""
    return [(group["name"], group["type"], _shape(group["children"])) for group in groups]


def test_functions_are_counted_by_name_and_state() -> None:
    counts = [
        (("f", "NORMAL_TASK", "FINISHED"), 3),
        (("f", "NORMAL_TASK", "FAILED"), 1),
        (("A.m", "ACTOR_TASK", "RUNNING"), 2),
        (("A.__init__", "ACTOR_CREATION_TASK", "FINISHED"), 4),
    ]
    assert summary_by_function(counts) == {
        "summary": {
            "f": {"func_or_class_name": "f", "type": "NORMAL_TASK", "state_counts": {"FINISHED": 3, "FAILED": 1}},
            "A.m": {"func_or_class_name": "A.m", "type": "ACTOR_TASK", "state_counts": {"RUNNING": 2}},
            "A.__init__": {"func_or_class_name": "A.__init__", "type": "ACTOR_CREATION_TASK", "state_counts": {"FINISHED": 4}},
        },
        "total_tasks": 4,
        "total_actor_tasks": 2,
        "total_actor_scheduled": 4,
        "summary_by": "func_name",
    }


def test_tasks_stand_below_who_created_them() -> None:
    found = _summary([_task("a", "outer"), _task("b", "inner", "a"), _task("c", "leaf", "b")])
    assert _shape(found["summary"]) == [("outer", "NORMAL_TASK", [("inner", "NORMAL_TASK", [("leaf", "NORMAL_TASK", [])])])]
    assert found["summary"][0]["state_counts"] == {"FINISHED": 3}
    assert found["summary"][0]["link"] == {"type": "task", "id": "a"}
    assert (found["total_tasks"], found["summary_by"]) == (3, "lineage")


def test_siblings_of_one_name_are_one_group() -> None:
    found = _summary([_task("a", "f", at=300), _task("b", "f", at=200, state="FAILED"), _task("c", "g", at=250)])
    assert _shape(found["summary"]) == [("f", "GROUP", [("f", "NORMAL_TASK", []), ("f", "NORMAL_TASK", [])]), ("g", "NORMAL_TASK", [])]
    (group, _) = found["summary"]
    assert (group["timestamp"], group["state_counts"], group["link"]) == (200, {"FINISHED": 1, "FAILED": 1}, None)


def test_actor_tasks_stand_below_their_actor_wherever_they_were_called_from() -> None:
    tasks = [
        _task("c", "A.__init__", "p", type_="ACTOR_CREATION_TASK", actor="act", at=120),
        _task("m", "A.run", DRIVER, type_="ACTOR_TASK", actor="act", at=150),
        _task("p", "creator", at=110),
    ]
    found = _summary(tasks, {"act": LineageActor("<my A>", "A")})
    assert _shape(found["summary"]) == [
        ("creator", "NORMAL_TASK", [("<my A>", "ACTOR", [("A.__init__", "ACTOR_CREATION_TASK", []), ("A.run", "ACTOR_TASK", [])])])
    ]
    assert found["summary"][0]["children"][0]["link"] == {"type": "actor", "id": "act"}
    assert (found["total_tasks"], found["total_actor_tasks"], found["total_actor_scheduled"]) == (1, 1, 1)
    assert _summary(tasks)["summary"][0]["children"][0]["name"] == "A", "an actor nobody knows is named by its creation"


def test_what_has_no_known_parent_is_left_out_as_live_does() -> None:
    found = _summary([_task("a"), _task("x", "orphan", "gone"), _task("m", "M.m", type_="ACTOR_TASK", actor="unknown")])
    assert _shape(found["summary"]) == [("f", "NORMAL_TASK", [])]
    assert (found["total_tasks"], found["total_actor_tasks"]) == (2, 1)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["FINISHED", "FAILED", "PENDING_NODE_ASSIGNMENT", "RUNNING"], ["d", "c", "b", "a"]),
        (["FINISHED"] * 4, ["a", "b", "c", "d"]),
    ],
)
def test_running_come_first_then_pending_failed_and_older(states: list[str], expected: list[str]) -> None:
    tasks = [_task(name, name, state=state, at=number) for number, (name, state) in enumerate(zip("abcd", states, strict=True), 1)]
    assert [group["name"] for group in _summary(tasks)["summary"]] == expected


def test_siblings_of_one_name_stand_in_one_order_with_children_and_without() -> None:
    tasks = [
        _task("a", at=5),
        _task("b", at=3),
        _task("c", "inner", "b"),
        _task("d", at=4, state="FAILED"),
        _task("e", at=3),
        _task("f", at=None),
        _task("g", at=9, state="RUNNING"),
        _task("g", at=9, state="FAILED"),
    ]
    (group,) = _summary(tasks)["summary"]
    assert (group["type"], group["timestamp"]) == ("GROUP", 3)
    assert group["state_counts"] == {"FINISHED": 5, "FAILED": 2, "RUNNING": 1}
    assert [child["key"] for child in group["children"]] == ["g", "d", "b", "e", "a", "f"], "running, failed, older, first come"
    assert [len(child["children"]) for child in group["children"]] == [0, 0, 1, 0, 0, 0]


def test_unknown_states_and_types_are_text() -> None:
    (group,) = _summary([_task("a", state='NEW"', type_='KIND"')])["summary"]
    assert (group["state_counts"], group["type"]) == ({'NEW"': 1}, 'KIND"')


def test_names_are_text_and_no_format() -> None:
    assert [group["name"] for group in _summary([_task("a", "50%d of %s")])["summary"]] == ["50%d of %s"]


def test_a_deep_chain_is_no_recursion() -> None:
    depth = 5000
    found = summary_by_lineage([_task(f"t{n}", f"n{n}", f"t{n - 1}" if n else DRIVER) for n in range(depth)], {})
    assert found.count(b'"NORMAL_TASK"') == depth
    assert b'"state_counts":{"FINISHED":%d}' % depth in found


@given(
    parents=st.lists(st.integers(0, 30), min_size=1, max_size=30),
    names=st.lists(st.sampled_from(["f", "g", 'h"\n']), min_size=30, max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_every_task_is_counted_once_whatever_their_order(parents: list[int], names: list[str], order: Any) -> None:
    """Each task's parent is an earlier one, or the driver."""
    tasks = [
        _task(f"t{number}", names[number], f"t{parent % number}" if number and parent % 3 else DRIVER, at=number + 1)
        for number, parent in enumerate(parents)
    ]
    expected = sorted((name, counts) for name, counts in _leaves(_summary(tasks)["summary"]))
    assert sum(sum(group["state_counts"].values()) for group in _summary(tasks)["summary"]) == len(tasks)
    order.shuffle(tasks)
    assert sorted(_leaves(_summary(tasks)["summary"])) == expected


def _leaves(groups: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(name, counts) of every task's own group."""
    found = []
    for group in groups:
        if group["type"] != "GROUP":
            found.append((f"{group['key']} {group['name']}", str(group["state_counts"])))
        found += _leaves(group["children"])
    return found
