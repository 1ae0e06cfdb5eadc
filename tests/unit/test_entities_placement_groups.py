"""Placement groups: stored answers now, events should Ray ever send them."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.ray.columns import PLACEMENT_GROUPS
from shared.snapshot_format import decompress
from tests.unit.session_events import HEAD, JOB, b64, built, event, ms, state, stored
from workers.bad_data import Skipped
from workers.snapshot_writer import small_table

GROUP = "12" * 14 + "03000000"
PATH = "/api/v0/placement_groups?detail=1&limit=10000"


def _answer(*rows: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"result": True, "msg": "", "data": {"result": {"total": len(rows), "result": list(rows)}}})


def _events(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    defined = {
        "placementGroupId": b64(GROUP),
        "name": "pg",
        "creatorJobId": b64(JOB),
        "isDetached": True,
        "bundles": [{"bundleIndex": 0, "unitResources": {"CPU": 1}, "labelSelector": {}}],
        "creationRequestReceivedNs": str(ms(1) * 10**6),
    }
    return [
        event(
            "PLACEMENT_GROUP_LIFECYCLE_EVENT",
            "placementGroupLifecycleEvent",
            {"placementGroupId": b64(GROUP), "stateTransitions": list(steps)},
        ),
        event("PLACEMENT_GROUP_DEFINITION_EVENT", "placementGroupDefinitionEvent", defined),
    ]


PLACED = state("CREATED", 2, schedulingState="FINISHED", schedulingAttempt=1, bundlePlacements=[{"bundleIndex": 0, "nodeId": b64(HEAD)}])


def _rows(events: list[dict[str, Any]], endpoints: dict[str, bytes] | None = None) -> list[dict[str, Any]]:
    return built(events, stored(endpoints=endpoints)).rows["placement_groups"]


def test_from_events() -> None:
    (row,) = _rows(_events(state("PENDING", 1), PLACED))
    assert (row["placement_group_id"], row["name"], row["creator_job_id"], row["state"]) == (GROUP, "pg", JOB, "CREATED")
    assert row["is_detached"]
    assert row["bundles"] == [
        {
            "bundle_id": {"placement_group_id": GROUP, "bundle_index": 0},
            "unit_resources": {"CPU": 1.0},
            "node_id": HEAD,
            "label_selector": {},
        }
    ]
    assert row["stats"]["end_to_end_creation_latency_us"] == "1000000"
    assert row["stats"]["scheduling_state"] == "FINISHED"


def test_a_rescheduled_group_lies_nowhere() -> None:
    (row,) = _rows(_events(PLACED, state("RESCHEDULING", 3)))
    assert (row["state"], row["bundles"][0]["node_id"]) == ("RESCHEDULING", "")


def test_a_stored_answer_is_shown_as_it_is() -> None:
    rows = [{"placement_group_id": "b" * 36, "bundles": []}, {"placement_group_id": "a" * 36, "bundles": [1], "new_in_2_99": 1}]
    assert _rows([], {PATH: _answer(*rows)}) == [rows[1], rows[0]]


def test_events_are_newer_than_the_stored_answer() -> None:
    known = {"placement_group_id": GROUP, "name": "pg", "state": "PENDING", "bundles": [1], "stats": {"scheduling_latency_us": "77"}}
    (row,) = _rows(_events(PLACED, state("REMOVED", 4, schedulingState="SCHEDULING_REMOVED")), {PATH: _answer(known)})
    assert (row["state"], row["stats"]["scheduling_latency_us"], row["stats"]["scheduling_state"]) == ("REMOVED", "77", "REMOVED")


def test_of_two_stored_answers_the_fuller_one() -> None:
    short = {"placement_group_id": GROUP}
    full = {"placement_group_id": GROUP, "name": "pg"}
    assert _rows([], {"/api/v0/placement_groups": _answer(short), PATH: _answer(full)}) == [full | {"bundles": []}]


def test_a_stored_answer_that_was_cut_off_is_counted() -> None:
    skipped = Skipped()
    entities = built([], stored(endpoints={PATH: _answer({"placement_group_id": GROUP})[:-5]}), skipped=skipped)
    assert entities.rows["placement_groups"] == []
    assert skipped.counts["malformed"] >= 1


def test_columns_of_the_sessions_own_ray_are_kept() -> None:
    row = {"placement_group_id": GROUP, "name": "pg", "creator_job_id": JOB, "state": "CREATED", "is_detached": False, "stats": {}}
    ours = row | {"bundles": None, "label_domain_key": "rack", "label_domain_value": None}
    (index, fields) = small_table(PLACEMENT_GROUPS, _rows([], {PATH: _answer(ours)}))
    assert index.rows == 1
    (shown,) = (msgspec.json.decode(decompress(data)) for name, data in fields.items() if ":d:" in name)
    assert shown == ours | {"bundles": []}
