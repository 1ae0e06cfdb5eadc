"""Rules of nodes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.session_events import HEAD, WORKER_NODE, at, built, ms, node_defined, node_states, state, stored, two_nodes
from workers.entities.nodes import HOSTNAMES, NODE_SHAPES, SUMMARY

_EXPECTED = {"reason": "EXPECTED_TERMINATION", "reasonMessage": "received SIGTERM"}


def _row(*events: dict[str, Any]) -> dict[str, Any]:
    (row,) = built(list(events)).rows["nodes"]
    return row


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (_EXPECTED, "Expected termination: received SIGTERM"),
        ({"reason": "AUTOSCALER_DRAIN_IDLE", "reasonMessage": ""}, "Terminated due to idle (no Ray activity)"),
        ({"reason": "AUTOSCALER_DRAIN_PREEMPTED"}, "Terminated due to preemption"),
        ({"reason": "UNSPECIFIED", "reasonMessage": "who knows"}, "who knows"),
        ({}, None),
    ],
)
def test_why_a_node_is_dead(info: dict[str, str], message: str | None) -> None:
    row = _row(node_defined(), node_states(state("ALIVE", 5, resources={"CPU": 1}), state("DEAD", 9, deathInfo=info, resources={})))
    assert row["state_message"] == message
    assert (row["state"], row["end_time_ms"], row["resources_total"]) == ("DEAD", ms(9), {"CPU": 1.0})


def test_draining_does_not_forget_the_resources() -> None:
    draining = state("ALIVE", 8, aliveSubState="DRAINING", resources={})
    row = _row(node_defined(), node_states(state("ALIVE", 5, resources={"node:__internal_head__": 1}), draining))
    assert (row["is_head_node"], row["state"], row["end_time_ms"]) == (True, "ALIVE", 0)


def test_an_older_definition_without_the_fields_that_came_later() -> None:
    old = {"hostname": None, "nodeName": "", "startTimestamp": None}
    row = _row(node_defined(**old), node_states(state("ALIVE", 7, resources={})))
    assert (row["node_name"], row["start_time_ms"], row["labels"]) == ("10.0.0.1", ms(7), {})


def test_directories_are_where_the_nodes_collector_saw_them() -> None:
    docs = built(two_nodes(), stored(temp_dirs={HEAD: "/scratch/ray"})).docs
    found = {node["raylet"]["nodeId"]: (node["raylet"]["tempDir"], node["raylet"]["sessionDir"]) for node in docs[SUMMARY]["summary"]}
    assert found == {
        HEAD: ("/scratch/ray", "/scratch/ray/session_2026-11-23_19-00-40_785172_1"),
        WORKER_NODE: ("/tmp/ray", "/tmp/ray/session_2026-11-23_19-00-40_785172_1"),
    }


def test_live_knows_of_a_dead_node_only_why_it_died() -> None:
    events = [*two_nodes(), node_states(state("DEAD", 9, deathInfo=_EXPECTED), node_id=WORKER_NODE)]
    docs = built(events).docs
    head, dead = docs[SUMMARY]["summary"]
    assert head["raylet"]["sessionDir"] == "/tmp/ray/session_2026-11-23_19-00-40_785172_1"
    assert head["raylet"]["isHeadNode"]
    assert dead["ip"] == "10.0.0.2"
    assert dead["raylet"]["nodeManagerAddress"] == ""
    assert dead["raylet"]["deathInfo"] == _EXPECTED
    assert dead["raylet"]["endTimeMs"] == str(ms(9))
    assert docs[HOSTNAMES] == {"hostNameList": ["host-10.0.0.1"]}
    assert docs[f"nodes/id/{HEAD}"]["detail"]["actors"] == {}


def test_a_node_known_by_its_states_alone() -> None:
    row = _row(node_states(state("ALIVE", 5, resources={"CPU": 2})))
    assert (row["node_id"], row["node_ip"], row["start_time_ms"]) == (HEAD, "", ms(5))


def test_times_with_any_number_of_decimals() -> None:
    assert _row(node_defined(startTimestamp="2026-11-23T19:00:05Z"))["start_time_ms"] == ms(5)
    assert _row(node_defined(startTimestamp=at(5.123456789)))["start_time_ms"] == ms(5.123)


@pytest.mark.parametrize("document", ["nodes/summary", f"nodes/id/{HEAD}"])
def test_pages_find_every_field_that_they_read_of_a_node(document: str) -> None:
    told = built(two_nodes()).docs[document]
    node = told["summary"][0] if "summary" in told else told["detail"]
    assert node["loadAvg"][0] is None, "the page skips it: `loadAvg[0] && ...`"
    for shape in NODE_SHAPES:
        assert node[shape.field] == shape.value
