"""One POST of Ray's agent, sorted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collector.batches import NotEvents, Place, read_batch
from shared.layout import is_event_file
from tests.collector.events import JOB, NODE, SESSION, body, event


def test_events_go_where_kuberay_files_them() -> None:
    batch = read_batch(body([event("a"), event("b", kind="NODE_LIFECYCLE_EVENT"), event("c", job="0a000000", node="")]))
    assert batch.places == [
        Place(SESSION, NODE, f"job_events/{JOB}"),
        Place(SESSION, NODE, "node_events"),
        Place(SESSION, "", "job_events/0a000000"),
    ]
    assert batch.ids == ["a", "b", "c"]
    assert json.loads(bytes(batch.lines[1])) == event("b", kind="NODE_LIFECYCLE_EVENT")


def test_every_recorded_event_is_filed_as_the_recorded_collector_did(recorded: Path) -> None:
    seen = 0
    for path in (recorded / "bucket").rglob("*.jsonl"):
        at = next(number for number, part in enumerate(path.parts) if part.startswith("session_"))
        session, node, *directory, _ = path.parts[at:]
        if not is_event_file("/".join(path.parts[at + 1 :])):
            continue
        lines = path.read_bytes().splitlines()
        batch = read_batch(b"[" + b", ".join(lines) + b"]")
        assert {*batch.places} == {Place(session, node, "/".join(directory))}, path
        assert [bytes(line) for line in batch.lines] == lines
        seen += len(lines)
    assert seen > 2000


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"null",
        b"[",
        b"[{}",
        b'[{"a": 1}',
        b"\xff",
        b'[{"sessionName": "\xff"}]',
        b'[{"message": "a\nb"}]',
        b'["a" "b"]',
        b"[1]x",
    ],
)
def test_what_is_no_array_is_refused(text: bytes) -> None:
    with pytest.raises(NotEvents):
        read_batch(text)


@pytest.mark.parametrize("session", ["", "..", "a/b", "a\0b", "x" * 200, None, 5, {}])
def test_an_event_that_fits_nowhere_is_counted_and_the_others_are_kept(session: object) -> None:
    batch = read_batch(body([event("a"), event("b") | {"sessionName": session}, event("c")]))
    assert batch.ids == ["a", "c"]
    assert batch.unfit == {"no session": 1}


@pytest.mark.parametrize("odd", [1, "text", None, [], True])
def test_an_element_that_is_no_object_is_counted(odd: object) -> None:
    batch = read_batch(json.dumps([event("a"), odd]).encode())
    assert batch.ids == ["a"]
    assert batch.unfit == {"not an event": 1}


@pytest.mark.parametrize("job", ["../x", "a/b/../c", "", ".", 7, None, {"a": 1}])
def test_a_job_id_that_names_no_directory_files_the_event_under_the_node(job: object) -> None:
    odd = event("a")
    odd["taskLifecycleEvent"]["jobId"] = job
    assert read_batch(body([odd])).places == [Place(SESSION, NODE, "node_events")]


def test_fields_of_other_types_than_rays_lose_nothing() -> None:
    odd = event("a") | {"eventId": 5, "nodeId": [], "driverJobLifecycleEvent": "text"}
    batch = read_batch(body([odd]))
    assert batch.places == [Place(SESSION, "", f"job_events/{JOB}")]
    assert batch.ids == [""]
    assert json.loads(bytes(batch.lines[0])) == odd


def test_line_breaks_between_parts_are_taken_out() -> None:
    batch = read_batch(json.dumps([event("a")], indent=2).encode())
    assert b"\n" not in bytes(batch.lines[0])
    assert json.loads(bytes(batch.lines[0])) == event("a")
