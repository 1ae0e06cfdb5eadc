"""What describes a cluster as a whole, and log events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.session_events import HEAD, WORKER_NODE, built, ms, node_states, state, stored, two_nodes
from workers.entities.cluster_facts import NO_STATUS
from workers.entities.log_events import JOBS, of_job

GCS = f"{HEAD}/logs/gcs_server.out"
MONITOR = f"{HEAD}/logs/monitor.log"
VERSION_LINE = (
    "[2026-11-23 {clock},572 I 7 7] (gcs_server) gcs_server_main.cc:98: Ray cluster metadata ray_version=2.60.0 ray_commit=b7f4259e\n"
)


def _docs(logs: dict[str, str], events: list[dict[str, Any]] | None = None, **files: Any) -> dict[str, Any]:
    return built(two_nodes() + (events or []), stored(logs=logs, **files)).docs


@pytest.mark.parametrize(
    ("clock", "offset", "zone"),
    [
        ("19:00:01", "+00:00", "Europe/London"),
        ("11:00:02", "-08:00", "America/Los_Angeles"),
        ("15:30:01", "-03:30", "America/St_Johns"),
        ("12:15:01", None, None),  # live has no name for it
    ],
)
def test_the_heads_time_zone_from_the_clock_of_its_log(clock: str, offset: str | None, zone: str | None) -> None:
    assert _docs({GCS: VERSION_LINE.format(clock=clock)})["timezone"] == {"offset": offset, "value": zone}


def test_a_time_zone_beyond_midnight() -> None:
    line = VERSION_LINE.format(clock="04:00:01").replace("2026-11-23", "2026-11-24")
    assert _docs({GCS: line})["timezone"] == {"offset": "+09:00", "value": "Asia/Irkutsk"}


def test_stored_answers_win() -> None:
    endpoints = {
        "/timezone": b'{"offset":"+05:30","value":"Asia/Kolkata"}',
        "/api/v0/cluster_metadata": b'{"data":{"rayVersion":"2.56.1"}}',
    }
    files = stored(logs={GCS: VERSION_LINE.format(clock="19:00:01")}, endpoints=endpoints)
    entities = built(two_nodes(), files)
    assert entities.ray_version == "2.56.1"
    assert entities.docs["timezone"]["value"] == "Asia/Kolkata"
    assert entities.docs["version"] == {
        "version": "4",
        "ray_version": "2.56.1",
        "ray_commit": "b7f4259e",
        "session_name": "session_2026-11-23_19-00-40_785172_1",
    }


@pytest.mark.parametrize(("sibling", "python"), [("2.60.0", "3.11.7"), ("2.59.0", None)])
def test_another_session_tells_of_the_same_ray_version_only(sibling: str, python: str | None) -> None:
    answer = msgspec.json.encode({"data": {"rayVersion": sibling, "pythonVersion": "3.11.7", "rayInitCluster": False}})
    metadata = _docs({GCS: VERSION_LINE.format(clock="19:00:01")}, sibling_metadata=answer)["cluster_metadata"]
    assert metadata["data"] == {"rayVersion": "2.60.0", "pythonVersion": python, "rayInitCluster": False}


def test_a_session_of_which_nothing_is_known() -> None:
    entities = built([])
    assert entities.ray_version is None
    assert entities.docs["cluster_metadata"]["data"]["rayVersion"] is None
    assert entities.docs["cluster_status"] == NO_STATUS
    assert entities.docs["nodes/summary"]["summary"] == []


def _report(clock: str, text: str) -> str:
    return f"2026-11-23 {clock},100\tINFO autoscaler.py:408 -- \n======== Autoscaler status: 2026-11-23 {clock}.100 ========\n{text}\n"


REPORTS = (
    _report("19:05:00", "two nodes") + _report("19:05:10", "one node") + _report("19:05:20", "no node") + "2026-11-23 19:05:20,200\tINFO\n"
)


def _ended(seconds: float, reason: str = "EXPECTED_TERMINATION") -> dict[str, Any]:
    return node_states(state("DEAD", seconds, deathInfo={"reason": reason}), node_id=WORKER_NODE)


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ([], "no node"),  # killed at once: the last report
        ([_ended(305)], "two nodes"),  # taken down: the last report before
        ([_ended(60)], "no node"),  # a node that was given back long before the end
        ([_ended(305, "UNEXPECTED_TERMINATION")], "no node"),
    ],
)
def test_the_autoscalers_report(events: list[dict[str, Any]], shown: str) -> None:
    status = _docs({MONITOR: REPORTS}, events)["cluster_status"]
    assert status.splitlines()[1:] == [shown]


def _line(event_id: str, **fields: Any) -> bytes:
    return msgspec.json.encode({"event_id": event_id, "message": "m", "custom_fields": {}, **fields})


def test_log_events_of_both_writers() -> None:
    python = _line("p", timestamp="1795460459", source_hostname="h", custom_fields={"submission_id": "x"}, message="a\\nb")
    cpp = _line("c", timestamp=1795460400, host_name="h", pid="7", custom_fields={"job_id": "03000000", "node_id": HEAD})
    docs = built([], stored(log_events=[python, cpp, b"not json", b"", b'{"no":"id"}'])).docs
    assert docs[JOBS] == ["03000000", "global"]
    assert docs[of_job("03000000")][0]["customFields"] == {"jobId": "03000000", "nodeId": HEAD}
    assert docs[of_job("03000000")][0]["timestamp"] == 1795460400
    (shown,) = docs[of_job("global")]
    assert (shown["timestamp"], shown["message"], shown["sourceHostname"]) == ("1795460459", "a\nb", "h")


def test_a_log_event_written_twice_is_one() -> None:
    docs = built([], stored(log_events=[_line("a", timestamp=1, message="old"), _line("a", timestamp=1, message="new")])).docs
    assert [event["message"] for event in docs[of_job("global")]] == ["new"]


def test_too_many_log_events_lose_the_oldest() -> None:
    docs = built([], stored(log_events=[_line(str(number), timestamp=number) for number in range(11_001)])).docs
    assert len(docs[of_job("global")]) == 10_000
    assert docs[of_job("global")][0]["timestamp"] == 1001


def test_cluster_events_are_on_the_heads_clock() -> None:
    files = stored(
        log_events=[_line("a", timestamp=ms(0) // 1000, severity="INFO", source_type="GCS")],
        endpoints={"/timezone": b'{"offset":"-08:00","value":"America/Los_Angeles"}'},
    )
    assert built([], files).rows["cluster_events"] == [
        {"severity": "INFO", "time": "2026-11-23 11:00:00", "source_type": "GCS", "message": "m", "event_id": "a", "custom_fields": {}}
    ]
