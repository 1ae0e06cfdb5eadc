"""When a session ended, how, and which nodes left logs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.session_events import HEAD, WORKER_NODE, built, driver_job, ms, node_states, state, stored, two_nodes
from workers.entities.session_end import NODES_WITH_LOGS, SESSION_END, _logged_ms

_EXPECTED = {"reason": "EXPECTED_TERMINATION", "reasonMessage": ""}
_LOST = {"reason": "UNEXPECTED_TERMINATION", "reasonMessage": ""}


def _end(*events: Any, logs: dict[str, str] | None = None) -> dict[str, Any]:
    end: dict[str, Any] = built([*two_nodes(), *events], stored(logs)).docs[SESSION_END]
    return end


def test_it_began_with_its_first_node_and_ended_with_its_last_event() -> None:
    events = driver_job(finished=50)
    events[-1]["timestamp"] = "2026-11-23T19:01:00.5Z"
    end = _end(*events)
    assert (end["start_ms"], end["end_ms"]) == (ms(5), ms(60.5))


def test_the_head_s_log_goes_on_when_nothing_happens() -> None:
    log = "[2026-11-23 19:00:05,100 I 1 1] (gcs_server) up\n[2026-11-23 19:07:00,250 I 1 1] (gcs_server) still\n at some line\n"
    assert _end(logs={f"{HEAD}/logs/gcs_server.out": log})["end_ms"] == ms(420.25)


@pytest.mark.parametrize(
    ("death", "in_order", "alive"), [(_EXPECTED, True, 1), (_LOST, False, 1), (None, False, 2)], ids=["stopped", "lost", "alive"]
)
def test_it_ended_in_order_when_its_workers_were_stopped(death: dict[str, str] | None, in_order: bool, alive: int) -> None:
    steps = [node_states(state("DEAD", 90, deathInfo=death), node_id=WORKER_NODE)] if death else []
    end = _end(*steps)
    assert (end["in_order"], end["nodes_alive"]) == (in_order, alive)


def test_a_session_of_which_nothing_is_known_has_an_end() -> None:
    end = built([]).docs[SESSION_END]
    assert end["start_ms"] == end["end_ms"] > 0
    assert not end["in_order"]


def test_every_node_with_logs_is_named_dead_or_unknown() -> None:
    other = "dd" * 28
    logs = {f"{node}/logs/raylet.out": "x" for node in (HEAD, WORKER_NODE, other)}
    events = [*two_nodes(), node_states(state("DEAD", 9, deathInfo=_LOST), node_id=WORKER_NODE)]
    named = built(events, stored(logs)).docs[NODES_WITH_LOGS]
    assert {node["node_id"]: node["state"] for node in named} == {HEAD: "ALIVE", WORKER_NODE: "DEAD", other: "UNKNOWN"}


def test_a_log_line_at_the_end_of_the_calendar_tells_nothing() -> None:
    assert _logged_ms("[9999-12-31 23:59:59,000 I 1 1] (gcs_server) x\n", timedelta(hours=-9)) == []
