"""Other spellings, unknown fields, and nonsense: a load never fails for one event."""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec
import pytest

from tests.unit.session_events import (
    ACTOR,
    HEAD,
    actor_defined,
    actor_states,
    alive,
    built,
    died,
    driver_job,
    node_defined,
    state,
    two_nodes,
)
from workers.bad_data import Skipped
from workers.task_events.ranges import Ranges
from workers.task_events.split import Splitter

EVENTS = [*two_nodes(), *driver_job(finished=9), actor_defined(), actor_states(alive(5), state("RESTARTING", 6), alive(7), died(8))]


def _snake(value: Any) -> Any:
    """Keys of maps (`CPU`) are data."""
    if isinstance(value, list):
        return [_snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key if key[0].isupper() else re.sub("[A-Z]", lambda c: "_" + c[0].lower(), key): _snake(item) for key, item in value.items()}


def _parsed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    splitter = Splitter(Ranges(1))
    splitter.feed(b"\n".join(msgspec.json.encode(event) for event in events))
    assert not splitter.skipped.total
    return splitter.others


def test_proto_field_names() -> None:
    """Collectors may keep them (`PRESERVE_PROTO_FIELD_NAME`)."""
    assert built(_parsed([_snake(event) for event in EVENTS])) == built(EVENTS)


@pytest.mark.parametrize(
    "spell", [bytes.hex, lambda raw: raw.hex().upper(), lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")]
)
def test_ids_in_other_spellings(spell: Any) -> None:
    event = actor_defined()
    event["actorDefinitionEvent"]["actorId"] = spell(bytes.fromhex(ACTOR))
    assert built([event]).rows["actors"][0]["actor_id"] == ACTOR


def test_unknown_fields_kinds_and_states() -> None:
    events = [
        node_defined(newInRay9={"a": 1}),
        {"eventType": "NODE_LIFECYCLE_EVENT", "timestamp": "2026-11-23T19:00:09Z"},
        actor_defined(fancy=[1]),
        actor_states(alive(3), state("HIBERNATING", 4)),
    ]
    entities = built(events)
    assert entities.rows["nodes"][0]["node_id"] == HEAD
    assert entities.rows["actors"][0]["state"] == "HIBERNATING"


def test_malformed_events_are_left_out_and_counted() -> None:
    broken = [actor_defined(), node_defined(), actor_states(state("ALIVE", 1))]
    broken[0]["actorDefinitionEvent"]["actorId"] = "*?"
    broken[1]["nodeDefinitionEvent"]["nodeId"] = None
    broken[2]["actorLifecycleEvent"]["stateTransitions"][0]["timestamp"] = "yesterday"
    skipped = Skipped()
    entities = built([*EVENTS, *broken], skipped=skipped)
    assert skipped.counts == {"malformed": 2, "bad_value": 2}
    assert not entities.defects
    assert len(entities.rows["nodes"]) == 2
    assert len(entities.rows["actors"]) == 1


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) within an event."""
    found = []
    for key, item in list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []:
        found += [(value, key), *_places(item)]
    return found


@pytest.mark.parametrize("nonsense", [None, 7, -1.5, "", "x", [], [1], {}, {"a": 1}, True, "9" * 40], ids=repr)
def test_nonsense_anywhere_never_fails_a_load(nonsense: Any) -> None:
    for place in range(len(_places(EVENTS))):
        events = msgspec.json.decode(msgspec.json.encode(EVENTS))
        container, key = _places(events)[place]
        if container is not events:  # an event is an object: the parser saw to that
            container[key] = nonsense
            entities = built(events)
            assert not entities.defects
            msgspec.json.encode(entities.rows)
