"""One POST of Ray's agent, sorted."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from collector.batches import Batch, NotEvents, Place, Reader, batch_reader
from shared.errors import SettingsError
from shared.layout import is_event_file
from tests.collector.events import JOB, NODE, SESSION, body, event


@pytest.fixture(params=["python", "native"])
def read_batch(request: pytest.FixtureRequest) -> Reader:
    try:
        return batch_reader(request.param)
    except SettingsError:
        pytest.skip("the core is not built: `make setup` does where there is cargo")


def places(batch: Batch) -> list[Place]:
    return [group.place for group in batch.groups for _ in group.ids]


def ids(batch: Batch) -> list[str]:
    return [event_id for group in batch.groups for event_id in group.ids]


def lines(batch: Batch) -> list[bytes]:
    found = []
    for group in batch.groups:
        *here, nothing = group.text.split(b"\n")
        assert (len(here), nothing) == (len(group.ids), b"")
        found += here
    return found


def test_events_go_where_kuberay_files_them(read_batch: Reader) -> None:
    batch = read_batch(body([event("a"), event("b", kind="NODE_LIFECYCLE_EVENT"), event("c", job="0a000000", node="")]))
    assert places(batch) == [
        Place(SESSION, NODE, f"job_events/{JOB}"),
        Place(SESSION, NODE, "node_events"),
        Place(SESSION, "", "job_events/0a000000"),
    ]
    assert ids(batch) == ["a", "b", "c"]
    assert json.loads(lines(batch)[1]) == event("b", kind="NODE_LIFECYCLE_EVENT")


def test_every_recorded_event_is_filed_as_the_recorded_collector_did(read_batch: Reader, recorded: Path) -> None:
    seen = 0
    for path in (recorded / "bucket").rglob("*.jsonl"):
        at = next(number for number, part in enumerate(path.parts) if part.startswith("session_"))
        session, node, *directory, _ = path.parts[at:]
        if not is_event_file("/".join(path.parts[at + 1 :])):
            continue
        stored = path.read_bytes().splitlines()
        batch = read_batch(b"[" + b", ".join(stored) + b"]")
        assert {*places(batch)} == {Place(session, node, "/".join(directory))}, path
        assert lines(batch) == stored
        seen += len(stored)
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
def test_what_is_no_array_is_refused(read_batch: Reader, text: bytes) -> None:
    with pytest.raises(NotEvents):
        read_batch(text)


@pytest.mark.parametrize("session", ["", "..", "a/b", "a\0b", "x" * 200, None, 5, {}])
def test_an_event_that_fits_nowhere_is_counted_and_the_others_are_kept(read_batch: Reader, session: object) -> None:
    batch = read_batch(body([event("a"), event("b") | {"sessionName": session}, event("c")]))
    assert ids(batch) == ["a", "c"]
    assert batch.unfit == {"no session": 1}


@pytest.mark.parametrize("odd", [1, "text", None, [], True])
def test_an_element_that_is_no_object_is_counted(read_batch: Reader, odd: object) -> None:
    batch = read_batch(json.dumps([event("a"), odd]).encode())
    assert ids(batch) == ["a"]
    assert batch.unfit == {"not an event": 1}


@pytest.mark.parametrize("job", ["../x", "a/b/../c", "", ".", 7, None, {"a": 1}])
def test_a_job_id_that_names_no_directory_files_the_event_under_the_node(read_batch: Reader, job: object) -> None:
    odd = event("a")
    odd["taskLifecycleEvent"]["jobId"] = job
    assert places(read_batch(body([odd]))) == [Place(SESSION, NODE, "node_events")]


def test_fields_of_other_types_than_rays_lose_nothing(read_batch: Reader) -> None:
    odd = event("a") | {"eventId": 5, "nodeId": [], "driverJobLifecycleEvent": "text"}
    batch = read_batch(body([odd]))
    assert places(batch) == [Place(SESSION, "", f"job_events/{JOB}")]
    assert ids(batch) == [""]
    assert json.loads(lines(batch)[0]) == odd


def test_line_breaks_between_parts_are_taken_out(read_batch: Reader) -> None:
    batch = read_batch(json.dumps([event("a")], indent=2).encode())
    assert b"\n" not in lines(batch)[0]
    assert json.loads(lines(batch)[0]) == event("a")


_KEYS = ["eventId", "eventType", "sessionName", "nodeId", "jobId", "taskLifecycleEvent", "taskProfileEvents", "actorDefinitionEvent", "x"]
_VALUES: list[object] = [
    None, True, 0, -1.5e300, 10**30, "", "04000000", "\u4f60\U0001f600", '"}, {"eventId": "', "\\\n\x7f", "TASK_PROFILE_EVENT", "NODE_LIFECYCLE_EVENT", [], {},
    {"jobId": "05000000"}, {"jobId": 5}, {"jobId": None, "x": [{"jobId": "y"}]}, [[["deep"]]], "\ud800",
]  # fmt: skip
_PIECES = [
    b"",
    b'"',
    b"\\",
    b"}",
    b"]",
    b"[",
    b",",
    b"0",
    b"\x01",
    b"\xff",
    b" ",
    b"\n",
    b'"x": 1, ',
    b'"jobId": "z", ',
    b"\\u00e9",
    b"-",
    b"e",
]


def test_both_readers_give_the_same(native: Reader) -> None:
    reference, chance = batch_reader("python"), Random(20)
    for number in range(1500):
        events = [event(f"{at}", job=chance.choice(["04000000", "05000000"])) for at in range(3)]
        for _ in range(chance.randrange(4)):
            one = chance.choice(events)
            changed = chance.choice([one, one["taskLifecycleEvent"]])
            if isinstance(changed, dict):
                changed[chance.choice(_KEYS)] = chance.choice(_VALUES)
                if "taskLifecycleEvent" not in one or not isinstance(one["taskLifecycleEvent"], dict):
                    one["taskLifecycleEvent"] = {}
        marks = chance.choice([(", ", ": "), (",", ":"), (" ,\t", " : ")])
        sent = json.dumps(events, ensure_ascii=chance.random() < 0.5, separators=marks).encode(errors="surrogatepass")
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(sent))
            sent = sent[:at] + chance.choice(_PIECES) + sent[at + chance.randrange(2) :]
        assert _read(native, sent) == _read(reference, sent), (number, sent)


def _read(reader: Reader, sent: bytes) -> object:
    try:
        batch = reader(sent)
    except NotEvents:
        return "not events"
    # Two spellings of one place are two groups of the native reader.
    return sorted(
        (place, event_id, line) for place, event_id, line in zip(places(batch), ids(batch), lines(batch), strict=True)
    ), batch.unfit


@pytest.fixture(scope="module")
def native() -> Reader:
    try:
        return batch_reader("native")
    except SettingsError:
        pytest.skip("the core is not built: `make setup` does where there is cargo")


def test_what_agents_send_is_read_by_the_core(native: Reader, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.batches.read_batch", lambda _: pytest.fail("left to the reference"))
    stored = [line for path in (recorded / "bucket").rglob("*_events/**/*.jsonl") for line in path.read_bytes().splitlines()]
    sent = json.dumps([json.loads(line) for line in stored]).encode()
    assert len(ids(native(sent))) == len(stored) > 2000
