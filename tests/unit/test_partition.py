"""Event files to lines by range: formats, spellings, damage."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.task_lines import TASK, defined, line, lived, loaded, profiled, row, rows
from tests.unit.session_events import ACTOR, JOB, actor_defined, b64
from workers.partition import Lines, Ranges, UnreadableFile, as_lines, partition, unpack

EVENTS = [defined(), lived(("RUNNING", 1)), profiled(("task", 1, 2))]


def _cut(text: bytes, count: int = 1) -> Lines:
    ranges = Ranges(count)
    lines = Lines.of(ranges)
    partition(text, ranges, lines)
    return lines


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
        lines = _cut(text)
        assert (lines.events, lines.skipped.total()) == (3, 0)


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


@pytest.mark.parametrize("indent", [None, 2])
def test_the_array_of_older_collectors_is_the_same(indent: int | None) -> None:
    array = json.dumps([json.loads(event) for event in EVENTS], indent=indent).encode()
    assert _cut(array).events == 3
    assert rows(as_lines(b" \n" + array).split(b"\n")) == rows(EVENTS)


def test_an_array_that_is_cut_off_cannot_be_read() -> None:
    with pytest.raises(UnreadableFile) as caught:
        _cut(b"[" + b",".join(EVENTS))
    assert caught.value.code == "bad_json"


def test_proto_field_names_are_understood() -> None:
    lines = [json.dumps(_snake(json.loads(event))).encode() for event in EVENTS]
    assert rows(lines) == rows(EVENTS)
    entity = _cut(json.dumps(_snake(actor_defined())).encode())
    assert entity.entities[0]["actorDefinitionEvent"] == actor_defined()["actorDefinitionEvent"]


def test_keys_of_maps_are_no_field_names() -> None:
    found = row(
        json.dumps(_snake(json.loads(defined()))).encode().replace(b'"task_func"', b'"required_resources":{"my_gpu":1.0},"task_func"')
    )
    assert found["required_resources"] == {"my_gpu": 1.0}


def test_other_events_are_decoded_and_kept() -> None:
    lines = _cut(json.dumps(actor_defined()).encode() + b"\n" + EVENTS[0])
    assert [event["eventType"] for event in lines.entities] == ["ACTOR_DEFINITION_EVENT"]
    assert lines.events == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "bad_line"),
        (b"no JSON", "bad_line"),
        (b"\xff\xfe\x00", "bad_line"),
        (b"7", "bad_line"),
        (b"null", "bad_line"),
        (b'"text"', "bad_line"),
        (b"{}", "no_type"),
        (b'{"eventType":"NEW_KIND_OF_EVENT","newKindOfEvent":{}}', "unknown_type"),
        (b'{"eventType":"TASK_LIFECYCLE_EVENT"}', "bad_line"),
        (b'{"eventType":"TASK_LIFECYCLE_EVENT","taskLifecycleEvent":{"taskId":"!"}}', "bad_line"),
        (b'{"eventType":"ACTOR_DEFINITION_EVENT","actorDefinitionEvent":', "bad_line"),
    ],
)
def test_bad_lines_are_counted_and_cost_nothing_else(bad: bytes, reason: str) -> None:
    lines = _cut(b"\n".join([EVENTS[0], bad, EVENTS[1]]))
    assert lines.events == 2
    assert dict(lines.skipped) == {reason: 1}


def test_a_line_that_is_cut_off_costs_only_itself() -> None:
    for length in range(1, len(EVENTS[1])):
        found = rows([defined(), EVENTS[1][:length]])
        assert [r["state"] for r in found] == ["NIL"], EVENTS[1][:length]


@given(ids=st.lists(st.binary(min_size=24, max_size=24).map(bytes.hex), min_size=1, max_size=50), count=st.integers(1, 60))
def test_ranges_are_in_the_order_of_ids_and_complete(ids: list[str], count: int) -> None:
    ranges = Ranges(count)
    assert Ranges.in_total(ranges.count).count == ranges.count
    numbers = [ranges.of(b64(task_id).encode()) for task_id in sorted(ids)]
    assert numbers == sorted(numbers)
    assert all(0 <= number < ranges.count * ranges.slices for number in numbers)


@given(count=st.integers(2, 60), actors=st.lists(st.binary(min_size=8, max_size=8).map(bytes.hex), min_size=1, max_size=50))
def test_creation_tasks_have_ranges_of_their_own_in_order(count: int, actors: list[str]) -> None:
    ranges = Ranges(count)
    ids = sorted("ff" * 8 + actor + "0" * 16 for actor in actors)
    numbers = [ranges.of(b64(task_id).encode()) for task_id in ids]
    assert numbers == sorted(numbers)
    assert all(count * ranges.slices <= number < ranges.count * ranges.slices for number in numbers)


def test_every_event_of_a_task_goes_to_one_range() -> None:
    for count in (1, 2, 7, 40):
        lines = _cut(b"\n".join(EVENTS), count)
        assert [len(bucket) for bucket in lines.by_slice if bucket] == [3]


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


def test_of_collected_lines_the_envelope_is_dropped_and_nothing_else() -> None:
    later = lived(("FINISHED", 3), seconds=9, nodeId=b64("cc" * 28))
    events = [later, *EVENTS, lived(("FINISHED", 4), seconds=8, nodeId=b64("dd" * 28))]
    collected = [_as_collected(event, number) for number, event in enumerate(events)]
    kept = [line for bucket in _cut(b"\n".join(collected)).by_slice for line in bucket]
    assert all(line.startswith(b'"task') for line in kept)
    assert rows(collected) == rows(events), "the later event decides, wherever it stands"
    before = [event.replace(b'"eventId":"x",', b"").replace(b"{", b'{"eventId":"%040d",' % 7, 1) for event in events]
    assert all(b'"timestamp"' in line for bucket in _cut(b"\n".join(before)).by_slice for line in bucket)
    assert rows(before) == rows(events), "nor is a time lost that stands before the task's part"


def test_gzip_is_told_by_its_bytes() -> None:
    text = b"\n".join(EVENTS)
    assert unpack(gzip.compress(text)) == (text, None)
    assert unpack(gzip.compress(text[:50]) + gzip.compress(text[50:])) == (text, None), "members one after the other"
    assert unpack(text) == (text, None)
    assert unpack(b"") == (b"", None)


@given(cut=st.integers(2, 3000), flip=st.booleans())
def test_of_a_damaged_gzip_file_what_came_before_is_kept(cut: int, flip: bool) -> None:
    text = b"\n".join(b"%d %s" % (number, Random(number).randbytes(40).hex().encode()) for number in range(100))
    packed = gzip.compress(text)
    cut = min(cut, len(packed) - 1)
    damaged = packed[:cut] + bytes([packed[cut] ^ 0xFF]) + packed[cut + 1 :] if flip else packed[:cut]
    found, problem = unpack(damaged)
    if flip and problem is None:
        assert found == text, "only what nobody checks was changed"
        return
    assert problem is not None
    assert problem.code == "bad_gzip"
    if not flip:
        assert text.startswith(found)
        assert cut < 200 or found, "nothing was kept"


def test_recorded_files_are_read_whole(recorded: Path) -> None:
    for file in (recorded / "bucket" / "cluster-history").glob("**/*_events/**/*.jsonl*"):
        text, problem = unpack(file.read_bytes())
        assert problem is None
        lines = _cut(text, 5)
        assert lines.events == text.count(b'"eventType"')
        assert lines.skipped.total() == 0


def test_ids_in_hex_are_sorted_with_the_others() -> None:
    lines = _cut(defined().replace(b64(TASK).encode(), TASK.encode()) + b"\n" + lived(("RUNNING", 1)), 9)
    assert [len(bucket) for bucket in lines.by_slice if bucket] == [2]
