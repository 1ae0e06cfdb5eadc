"""Lines of event files to records by range: spellings, damage, other kinds of events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.task_lines import TASK, defined, line, lived, loaded, profiled, row, rows
from tests.unit.session_events import ACTOR, JOB, actor_defined, b64, ms
from workers.task_events.ranges import Ranges
from workers.task_events.records import decode_records
from workers.task_events.split import Splitter

EVENTS = [defined(), lived(("RUNNING", 1)), profiled(("task", 1, 2))]


def _split(text: bytes, count: int = 1) -> Splitter:
    splitter = Splitter(Ranges(count))
    splitter.feed(text)
    return splitter


def _counts(splitter: Splitter) -> list[int]:
    """How many records each range with any has."""
    return [len(decode_records(of_range)) for of_range in splitter.take() if of_range]


def _snake(value: Any) -> Any:
    """Field names as protobuf keeps them when it is told to."""
    if isinstance(value, list):
        return [_snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): _snake(item) for key, item in value.items()}


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\n\n", b"\n \n"])
def test_lines_may_be_separated_in_any_way(separator: bytes) -> None:
    for text in (separator.join(EVENTS), separator.join(EVENTS) + separator):
        lines = _split(text)
        assert (lines.events, lines.skipped.total) == (3, 0)


@pytest.mark.parametrize("ranges", [1, 6])
@pytest.mark.parametrize("task_id", ["fbefbe" * 6 + "03000000" + "ffff", "ff" * 8 + "fbefbe" * 5 + "ff"])
def test_events_that_spell_one_id_differently_are_of_one_task(task_id: str, ranges: int) -> None:
    task_id = task_id.ljust(48, "f")
    events = [defined(task_id), lived(("RUNNING", 1), task_id=task_id), lived(("FINISHED", 2), task_id=task_id)]
    plain = b64(task_id).encode()
    url_safe = plain.translate(bytes.maketrans(b"+/", b"-_"))
    assert url_safe != plain
    mixed = [events[0], *(event.replace(plain, url_safe) for event in events[1:])]
    found = asyncio.run(loaded([b"\n".join(mixed)], ranges=ranges).table("tasks").select(limit=10, detail=True))
    assert [json.loads(row) for row in found.rows] == rows(events)


def test_proto_field_names_are_understood() -> None:
    lines = [json.dumps(_snake(json.loads(event))).encode() for event in EVENTS]
    assert rows(lines) == rows(EVENTS)
    entity = _split(json.dumps(_snake(actor_defined())).encode())
    assert entity.others[0]["actorDefinitionEvent"] == actor_defined()["actorDefinitionEvent"]


def test_keys_of_maps_are_no_field_names() -> None:
    found = row(
        json.dumps(_snake(json.loads(defined()))).encode().replace(b'"task_func"', b'"required_resources":{"my_gpu":1.0},"task_func"')
    )
    assert found["required_resources"] == {"my_gpu": 1.0}


def test_other_events_are_decoded_and_kept() -> None:
    lines = _split(json.dumps(actor_defined()).encode() + b"\n" + EVENTS[0])
    assert [event["eventType"] for event in lines.others] == ["ACTOR_DEFINITION_EVENT"]
    assert lines.events == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "bad_line"),
        (b"no JSON", "bad_line"),
        (b"\xff\xfe\x00", "bad_line"),
        (b"7", "bad_line"),
        (b"[" * 5000, "bad_line"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "bad_line"),
        (b"null", "bad_line"),
        (b'"text"', "bad_line"),
        (b"{}", "no_type"),
        (b'{"eventType":"NEW_KIND_OF_EVENT","newKindOfEvent":{}}', "unknown_type"),
        (b'{"eventType":"TASK_LIFECYCLE_EVENT"}', "bad_event"),
        (b'{"eventType":"TASK_LIFECYCLE_EVENT","taskLifecycleEvent":{}}', "bad_event"),
        (b'{"eventType":"TASK_LIFECYCLE_EVENT","taskLifecycleEvent":{"taskId":"AAAA"}}', "bad_event"),
        (b'{"eventType":"ACTOR_DEFINITION_EVENT","actorDefinitionEvent":', "bad_line"),
    ],
)
def test_bad_lines_are_counted_and_cost_nothing_else(bad: bytes, reason: str) -> None:
    lines = _split(b"\n".join([EVENTS[0], bad, EVENTS[1]]))
    assert lines.events == 2
    assert dict(lines.skipped.counts) == {reason: 1}


def test_a_line_that_is_cut_off_costs_only_itself() -> None:
    for length in range(1, len(EVENTS[1])):
        found = rows([defined(), EVENTS[1][:length]])
        assert [r["state"] for r in found] == ["NIL"], EVENTS[1][:length]


@given(ids=st.lists(st.binary(min_size=24, max_size=24).map(bytes.hex), min_size=1, max_size=50), count=st.integers(1, 60))
def test_ranges_are_in_the_order_of_ids_and_complete(ids: list[str], count: int) -> None:
    ranges = Ranges(count)
    assert Ranges.in_total(ranges.count).count == ranges.count
    numbers = [ranges.of(task_id) for task_id in sorted(ids)]
    assert numbers == sorted(numbers)
    assert all(0 <= number < ranges.count for number in numbers)


@given(count=st.integers(2, 60), actors=st.lists(st.binary(min_size=8, max_size=8).map(bytes.hex), min_size=1, max_size=50))
def test_creation_tasks_have_ranges_of_their_own_in_order(count: int, actors: list[str]) -> None:
    ranges = Ranges(count)
    numbers = [ranges.of(task_id) for task_id in sorted("ff" * 8 + actor + "0" * 16 for actor in actors)]
    assert numbers == sorted(numbers)
    assert all(count <= number < ranges.count for number in numbers)


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_every_event_of_a_task_goes_to_one_range(count: int) -> None:
    assert _counts(_split(b"\n".join(EVENTS), count)) == [3]


def test_a_task_named_in_another_events_text_is_not_mistaken() -> None:
    """Ids are looked for in the bytes: only the event's own counts."""
    other = "0b" * 24
    tricky = defined(name=f'"taskId":"{b64(other)}"', callSite=f'x "taskId":"{b64(other)}" y')
    parent = line(
        "TASK_DEFINITION_EVENT", "taskDefinitionEvent", {"parentTaskId": b64(other), **json.loads(defined())["taskDefinitionEvent"]}
    )
    for event in (tricky, parent):
        assert [r["task_id"] for r in rows([event])] == [TASK]


@pytest.mark.parametrize("key", ["taskId", "parentTaskId", "actorId"])
@pytest.mark.parametrize("value", [b64("0b" * 24), b64("0b" * 16)], ids=["task", "actor"])
def test_ids_under_a_users_own_key_are_not_mistaken(key: str, value: str) -> None:
    labels = {"labelSelector": {key: value}}
    of_actor = {"actorId": b64(ACTOR), "actorFunc": json.loads(defined())["taskDefinitionEvent"]["taskFunc"]}
    actor = defined(**labels, **of_actor).replace(b'"taskDefinitionEvent"', b'"actorTaskDefinitionEvent"')
    for event, actor_id in ((defined(**labels), None), (actor, ACTOR)):
        for spelled in (event, _as_collected(event, 1)):
            found = row(spelled, lived(("RUNNING", 1)))
            assert (found["task_id"], found["state"], found["label_selector"]) == (TASK, "RUNNING", labels["labelSelector"])
            assert (found["actor_id"], found["parent_task_id"]) == (actor_id, "ff" * 20 + JOB)


def test_definitions_that_differ_in_ids_only_keep_their_own() -> None:
    ids = [(f"a{n}" * 20 + JOB, f"b{n % 2}" * 20 + JOB, f"c{n % 3}" * 12 + JOB) for n in range(8)]
    function = json.loads(defined())["taskDefinitionEvent"]["taskFunc"]
    events = []
    for number, (task_id, parent, actor) in enumerate(ids):
        made = defined(task_id, parentTaskId=b64(parent), actorId=b64(actor), actorFunc=function)
        events.append(_as_collected(made.replace(b'"taskDefinitionEvent"', b'"actorTaskDefinitionEvent"'), number))
    assert [(r["task_id"], r["parent_task_id"], r["actor_id"]) for r in rows(events)] == ids


def _as_collected(event: bytes, number: int) -> bytes:
    """As the collector's Go writes it: keys in order, and an id of 28 bytes."""
    return json.dumps({**json.loads(event), "eventId": f"{number:040}", "nodeId": "n"}, sort_keys=True, separators=(",", ":")).encode()


def test_ids_in_hex_are_sorted_with_the_others() -> None:
    lines = _split(defined().replace(b64(TASK).encode(), TASK.encode()) + b"\n" + lived(("RUNNING", 1)), 9)
    assert _counts(lines) == [2]


@pytest.mark.parametrize("cut", [b'"', b"\\", "\u6b7b".encode()[:1], b'{"a":', b"\x00\x00"])
def test_behind_a_line_that_was_cut_off_its_writer_goes_on(cut: bytes) -> None:
    """Killed within a line, started again with the same file."""
    glued = lived(("RUNNING", 1))[:-40] + cut + _as_collected(lived(("FINISHED", 2)), 1)
    lines = _split(EVENTS[0] + b"\n" + glued)
    assert (lines.events, dict(lines.skipped.counts)) == (2, {"bad_line": 1})
    assert row(EVENTS[0], glued)["state"] == "FINISHED"


def test_enums_may_be_numbers_and_integers_text() -> None:
    by_name = [defined(taskType="DRIVER_TASK", language="JAVA"), lived(("FAILED", 2), rayErrorInfo={"errorType": "NODE_DIED"})]
    by_number = [
        defined(taskType=3, language=1, taskAttempt="0").replace(b'"eventType":"TASK_DEFINITION_EVENT"', b'"eventType":1'),
        lived(("FAILED", 2), rayErrorInfo={"errorType": 23}, workerPid="0").replace(b'"state":"FAILED"', b'"state":12'),
    ]
    assert rows(by_number) == rows(by_name)


@pytest.mark.parametrize(
    "bad", [None, "", "yesterday", "2026-03-04T05:06:60.5Z", "0000-00-00T00:00:00Z", "9999-01-01T00:00:00Z", 7, [], "\u0661" * 19]
)
def test_a_bad_time_costs_only_itself(bad: Any) -> None:
    event = json.loads(lived(("RUNNING", 1), ("FINISHED", 2), seconds=3))
    event["taskLifecycleEvent"]["stateTransitions"][1]["timestamp"] = bad
    found = row(defined(), json.dumps(event).encode())
    assert (found["state"], found["start_time_ms"], found["end_time_ms"]) == ("FINISHED", float(ms(1)), float(ms(3))), "its event's time"
    event["timestamp"] = bad
    found = row(defined(), json.dumps(event).encode())
    assert (found["state"], found["end_time_ms"]) == ("FINISHED", None)


@pytest.mark.parametrize(
    "bad", [b"18446744073709551616", b"1e999", b"-1e400", b"9" * 5000, b"1.5", b"{}", b"[[]]", b'"\\ud800"', b"true", b"NaN"]
)
@pytest.mark.parametrize(
    "key", ["workerPid", "nodeId", "workerId", "actorReprName", "taskLogInfo", "rayErrorInfo", "isDebuggerPaused", "new"]
)
def test_a_bad_value_costs_only_itself(key: str, bad: bytes) -> None:
    event = lived(("FINISHED", 2), **{key: "BAD"}).replace(b'"BAD"', bad)
    lines = _split(EVENTS[0] + b"\n" + event)
    if bad == b"NaN":
        assert lines.skipped.counts == {"bad_line": 1}, "no JSON at all"
        return
    assert row(EVENTS[0], event)["state"] == "FINISHED"
    assert lines.events == 2
    assert set(lines.skipped.counts) <= {"bad_value"}
    assert all(len(text) <= 200 for _, _, text in lines.skipped.samples)


def test_null_is_the_default() -> None:
    event = json.loads(defined(requiredResources={"CPU": 1.0}))
    event["taskDefinitionEvent"] |= dict.fromkeys(
        ("labelSelector", "placementGroupId", "serializedRuntimeEnv", "taskType", "language", "actorId")
    )
    found = row(json.dumps(event).encode(), lived(("FINISHED", 2), workerPid=None, nodeId=None, rayErrorInfo=None, taskLogInfo=None))
    assert (found["state"], found["type"], found["language"], found["required_resources"]) == (
        "FINISHED",
        "NORMAL_TASK",
        "PYTHON",
        {"CPU": 1.0},
    )


def test_events_are_in_the_order_of_their_instants_not_of_their_text() -> None:
    first = lived(("RUNNING", 1), workerPid=1).replace(
        b'"timestamp":"2026-11-23T19:00:01.000000000Z","eventId"', b'"timestamp":"2026-11-23T19:00:28Z","eventId"'
    )
    second = lived(("RUNNING", 2), workerPid=2).replace(
        b'"timestamp":"2026-11-23T19:00:02.000000000Z","eventId"', b'"timestamp":"2026-11-23T19:00:28.900Z","eventId"'
    )
    assert row(defined(), second, first)["worker_pid"] == 2


def test_what_is_skipped_is_sampled_by_kind_and_file() -> None:
    splitter = Splitter(Ranges(1))
    splitter.skipped.file = "a.jsonl"
    splitter.feed(b"x\n" * 10 + b'{"eventType":"NEW"}')
    assert splitter.skipped.counts == {"bad_line": 10, "unknown_type": 1}
    assert [(file, kind) for file, kind, _ in splitter.skipped.samples] == [("a.jsonl", "bad_line")] * 3 + [("a.jsonl", "unknown_type")]
