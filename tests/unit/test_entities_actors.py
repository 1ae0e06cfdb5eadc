"""Rules of actors that the recorded sessions show rarely or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.session_events import (
    ACTOR,
    HEAD,
    WORKER_NODE,
    actor_defined,
    actor_states,
    alive,
    b64,
    built,
    died,
    driver_job,
    ms,
    node_states,
    state,
    two_nodes,
)
from workers.entities.logical_actors import INDEX, chunk, own_resources


def _row(*events: dict[str, Any]) -> dict[str, Any]:
    (row,) = built([*two_nodes(), *events]).rows["actors"]
    return row


def _shown(*events: dict[str, Any]) -> dict[str, Any]:
    return built([*two_nodes(), *events]).docs[chunk(0)][ACTOR]


def test_a_repeated_death_keeps_the_first_end_and_cause() -> None:
    twice = actor_states(died(20, "node died"), state("DEAD", 30))
    shown = _shown(actor_defined(), actor_states(alive(10)), twice)
    assert (shown["startTime"], shown["endTime"], shown["timestamp"]) == (ms(10), ms(20), float(ms(30)))
    assert shown["exitDetail"] == "node died"
    assert shown["address"]["nodeId"] == WORKER_NODE


def test_an_event_delivered_twice_counts_once() -> None:
    restarted = actor_states(alive(10), state("RESTARTING", 11), alive(12, "dd" * 28))
    assert _row(actor_defined(), restarted, restarted)["num_restarts"] == "1"


def test_events_in_any_order() -> None:
    events = [actor_states(died(20)), actor_states(alive(10)), actor_states(state("PENDING_CREATION", 2)), actor_defined()]
    assert _row(*events) == _row(*reversed(events))
    assert _row(*events)["state"] == "DEAD"


def test_restarts_by_reason() -> None:
    steps = [alive(1)]
    for second, reason in enumerate(["ACTOR_FAILURE", "LINEAGE_RECONSTRUCTION", "NODE_PREEMPTION", "NODE_PREEMPTION"], 2):
        steps += [state("RESTARTING", second, restartReason=reason), alive(second + 0.5)]
    row = _row(actor_defined(), actor_states(*steps))
    assert row["num_restarts"] == "4"
    assert row["num_restarts_due_to_lineage_reconstruction"] == "1"
    assert row["num_restarts_due_to_node_preemption"] == "2"


def test_a_restarting_actor_has_no_address_but_its_former_node() -> None:
    events = [actor_defined(), actor_states(alive(10), state("RESTARTING", 11))]
    assert _shown(*events)["address"] == {"nodeId": "", "ipAddress": "", "port": 0, "workerId": ""}
    assert _row(*events)["node_id"] == WORKER_NODE
    assert _shown(*events)["endTime"] == 0


def test_an_actor_that_never_started() -> None:
    row = _row(actor_defined(), actor_states(state("PENDING_CREATION", 2)))
    assert (row["state"], row["node_id"], row["pid"], row["death_cause"]) == ("PENDING_CREATION", None, 0, None)
    shown = _shown(actor_defined())
    assert shown["state"] == "DEPENDENCIES_UNREADY"
    assert shown["address"]["nodeId"] == "f" * 56


def test_an_actor_whose_definition_was_lost_is_still_listed() -> None:
    row = _row(actor_states(alive(10)))
    assert (row["job_id"], row["class_name"], row["state"]) == ("03000000", "", "ALIVE")


@pytest.mark.parametrize(
    ("cause", "shown"),
    [
        ({"runtimeEnvFailedContext": {"errorMessage": "no env"}}, "no env"),
        ({"actorUnschedulableContext": {"errorMessage": "nowhere"}}, "nowhere"),
        ({"creationTaskFailureContext": {"formattedExceptionString": "ValueError", "serializedException": "gA=="}}, "ValueError"),
        ({}, "-"),
    ],
)
def test_why_an_actor_is_dead(cause: dict[str, Any], shown: str) -> None:
    assert _shown(actor_defined(), actor_states(state("DEAD", 9, deathCause=cause)))["exitDetail"] == shown


def test_a_death_cause_in_protos_names_with_hex_ids() -> None:
    row = _row(actor_defined(), actor_states(died(9, actorId=b64(ACTOR), ownerIpAddress="10.0.0.1", nodeDeathInfo={"reasonMessage": "x"})))
    assert row["death_cause"] == {
        "actor_died_error_context": {
            "error_message": "gone",
            "actor_id": ACTOR,
            "owner_ip_address": "10.0.0.1",
            "node_death_info": {"reason_message": "x"},
        }
    }


def test_resources_of_a_placement_group_by_their_plain_names() -> None:
    group = "47ea44c61308895e80ba508462ec07000000"
    required = {f"CPU_group_{group}": 0.5, f"GPU_group_0_{group}": 1.0, f"bundle_group_{group}": 0.001, f"bundle_group_0_{group}": 0.001}
    assert own_resources({**required, "memory": 7.0}) == {"CPU": 0.5, "GPU": 1.0, "memory": 7.0}


def test_many_actors_lie_in_chunks_by_id() -> None:
    ids = [f"{number:024x}03000000" for number in range(401)]
    docs = built([actor_defined(actor_id) for actor_id in reversed(ids)]).docs
    assert docs[INDEX] == [ids[0], ids[200], ids[400]]
    assert [list(docs[chunk(place)]) for place in range(3)] == [ids[:200], ids[200:400], ids[400:]]


def test_an_actor_that_its_node_took_along_is_listed_under_its_owners_node_too() -> None:
    moved = actor_states(alive(10, node_id=WORKER_NODE), state("RESTARTING", 20), alive(21, node_id=WORKER_NODE))
    crash = built([*two_nodes(), *driver_job(), actor_defined(), moved]).docs
    node_died = node_states(state("DEAD", 20, deathInfo={"reason": "UNEXPECTED_TERMINATION"}), node_id=WORKER_NODE)
    lost = built([*two_nodes(), *driver_job(), actor_defined(), moved, node_died]).docs
    assert [ACTOR in docs[f"nodes/id/{HEAD}"]["detail"]["actors"] for docs in (crash, lost)] == [False, True]
