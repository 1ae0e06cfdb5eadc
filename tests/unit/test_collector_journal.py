"""Events on disk: durable before they are acknowledged, once each, and final when a segment is closed."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from collector.batches import Batch, Place, read_batch
from collector.journal import Full, Journal, NotDurable
from collector.recent_ids import RecentIds
from collector.segments import event_files
from tests.collector.events import NODE, body, event
from tests.waiting import wait_until


def make(directory: Path, **options: object) -> Journal:
    usual = {"limit": 1 << 20, "segment_bytes": 1 << 16, "max_age": 60.0, "deleted": pytest.fail}
    return Journal(directory, **(usual | options))  # type: ignore[arg-type]


def keep(journal: Journal, batch: Batch) -> str:
    """The reason why it is not kept; empty when it is."""
    try:
        journal.append(batch)
    except NotDurable as exc:
        return str(exc)
    return ""


def batch_of(*ids: str, **fields: str) -> Batch:
    return read_batch(body([event(event_id, **fields) for event_id in ids]))


def as_it_is(place: Place) -> Place:
    return place


def ids_stored(journal: Journal) -> Counter[str]:
    found: Counter[str] = Counter()
    for segment in journal.closed():
        for _, _, packed, count in event_files(segment, as_it_is, pytest.fail):
            lines = gzip.decompress(packed).splitlines()
            assert len(lines) == count
            found.update(json.loads(line)["eventId"] for line in lines)
    return found


def test_what_was_kept_survives_without_any_goodbye(tmp_path: Path) -> None:
    assert keep(make(tmp_path), batch_of("a", "b")) == ""
    again = make(tmp_path)
    assert ids_stored(again) == {"a": 1, "b": 1}
    assert keep(again, batch_of("c")) == ""
    again.close_segment()
    assert ids_stored(again) == {"a": 1, "b": 1, "c": 1}


def test_an_event_that_is_sent_again_is_stored_once_also_after_a_restart_and_after_its_upload(tmp_path: Path) -> None:
    journal = make(tmp_path)
    assert journal.append(batch_of("a", "b", "a")) == 2
    assert journal.append(batch_of("b", "c")) == 1
    journal.end()
    again = make(tmp_path)
    assert ids_stored(again) == {"a": 1, "b": 1, "c": 1}
    for segment in again.closed():
        again.finish(segment)
    assert again.size == 0
    assert make(tmp_path).append(batch_of("a", "b", "c", "d")) == 1


def test_events_without_id_are_all_kept(tmp_path: Path) -> None:
    journal = make(tmp_path)
    assert journal.append(batch_of("", "")) == 2
    assert journal.append(batch_of("")) == 1
    journal.end()
    assert ids_stored(journal) == {"": 3}


@pytest.mark.parametrize("problem", ["", "cannot be written: No space left on device"])
def test_a_batch_that_was_all_known_is_answered_as_the_one_it_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    journal = make(tmp_path)
    writing, go_on = threading.Event(), threading.Event()
    real = os.write

    def slow(file: int, data: memoryview) -> int:
        writing.set()
        assert go_on.wait(30)
        if problem:
            raise OSError(28, "No space left on device")
        return real(file, data)

    monkeypatch.setattr("collector.journal.os.write", slow)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(keep(journal, batch_of("a")))) for _ in range(2)]
    threads[0].start()
    assert writing.wait(30)
    threads[1].start()
    wait_until(lambda: len(journal._waiting) == 1, "the second one waits")
    assert answers == []
    go_on.set()
    for thread in threads:
        thread.join()
    assert answers == [problem, problem]
    journal.end()
    assert ids_stored(journal) == ({} if problem else {"a": 1})


def test_a_torn_end_is_left_out_and_a_damaged_record_is_told(tmp_path: Path) -> None:
    journal = make(tmp_path)
    for name in ("a", "b", "c"):
        keep(journal, batch_of(name))
    journal.end()
    (segment,) = journal.closed()
    whole = segment.read_bytes()
    each = len(whole) // 3
    told: list[int] = []

    def ids() -> list[str]:
        files = event_files(segment, as_it_is, told.append)
        return [json.loads(line)["eventId"] for *_, packed, _ in files for line in gzip.decompress(packed).splitlines()]

    for torn in (whole[:-1], whole[: 2 * each + 5], whole[: 2 * each] + bytes(4096)):
        segment.write_bytes(torn)
        assert ids() == ["a", "b"]
        assert told == []
    damaged = bytearray(whole)
    damaged[each + each // 2] ^= 1
    segment.write_bytes(damaged)
    assert ids() == ["a", "c"]
    assert told == [each - 8, each - 8][: len(told)]
    assert told


def test_a_segment_is_closed_by_size_and_by_age_and_then_final(tmp_path: Path) -> None:
    now = [0.0]
    journal = make(tmp_path, segment_bytes=2000, max_age=10.0, clock=lambda: now[0])
    keep(journal, batch_of("a"))
    journal.close_segment(only_if_due=True)
    assert journal.closed() == []
    now[0] = 11.0
    journal.close_segment(only_if_due=True)
    (first,) = journal.closed()
    content = first.read_bytes()
    keep(journal, batch_of(*"bcdefgh"))
    wait_until(lambda: len(journal.closed()) == 2, "the full segment is closed")
    assert first.read_bytes() == content
    assert [path.name for path in journal.closed()] == sorted(path.name for path in journal.closed())


def test_a_full_buffer_refuses_until_something_is_uploaded(tmp_path: Path) -> None:
    journal = make(tmp_path, limit=1000, segment_bytes=100)
    while journal.size < 1000:
        keep(journal, batch_of(f"{journal.size}"))
    with pytest.raises(Full):
        journal.append(batch_of("more"))
    for segment in journal.closed():
        journal.finish(segment)
    assert keep(journal, batch_of("more")) == ""


def test_a_full_disk_refuses_and_nothing_of_what_was_refused_is_found_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = make(tmp_path)
    assert keep(journal, batch_of("a")) == ""
    real, calls = os.write, []

    def half_then_full(file: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(file, data[: len(data) // 2])

    with monkeypatch.context() as patched:
        patched.setattr("collector.journal.os.write", half_then_full)
        assert keep(journal, batch_of("b")) == "cannot be written: No space left on device"
    assert keep(journal, batch_of("c")) == ""
    assert journal.append(batch_of("b")) == 1  # refused, so not known
    journal.end()
    assert ids_stored(journal) == {"a": 1, "b": 1, "c": 1}


def test_many_threads_append_and_each_event_is_stored_once(tmp_path: Path) -> None:
    journal = make(tmp_path, segment_bytes=5000)

    def send(thread: int) -> None:
        for number in range(20):
            assert keep(journal, batch_of(f"{thread}-{number}", f"shared-{number}")) == ""
            journal.close_segment()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.end()
    stored = ids_stored(journal)
    assert len(stored) == 6 * 20 + 20
    assert set(stored.values()) == {1}


def test_the_same_segment_gives_the_same_files(tmp_path: Path) -> None:
    journal = make(tmp_path)
    keep(journal, batch_of("a", "b"))
    keep(journal, batch_of("c", job="0b000000"))
    keep(journal, batch_of("d", node=""))
    journal.end()
    (segment,) = journal.closed()

    def files() -> list[tuple[Place, str, bytes, int]]:
        return list(event_files(segment, as_it_is, pytest.fail))

    assert files() == files()
    assert [(place.directory, bool(place.node), events) for place, _, _, events in files()] == [
        ("job_events/04000000", False, 1),
        ("job_events/04000000", True, 2),
        ("job_events/0b000000", True, 1),
    ]


def test_events_that_turn_out_to_be_of_one_place_are_in_one_file(tmp_path: Path) -> None:
    journal = make(tmp_path)
    keep(journal, read_batch(body([event("a"), event("b", node="")])))
    journal.end()
    (segment,) = journal.closed()
    ((place, _, packed, events),) = event_files(segment, lambda place: place._replace(node=NODE), pytest.fail)
    assert (place.node, events) == (NODE, 2)
    assert sorted(json.loads(line)["eventId"] for line in gzip.decompress(packed).splitlines()) == ["a", "b"]


def test_large_batches_go_into_the_file_as_they_are_packed_and_small_ones_are_packed_together(tmp_path: Path) -> None:
    def packed(name: str, *batches: Batch) -> tuple[list[str], int]:
        journal = make(tmp_path / name, segment_bytes=1 << 30)
        for batch in batches:
            keep(journal, batch)
        journal.end()
        (segment,) = journal.closed()
        ((_, _, content, _),) = event_files(segment, as_it_is, pytest.fail)
        assert (content in segment.read_bytes()) is (len(batches) == 1)
        return [json.loads(line)["eventId"] for line in gzip.decompress(content).splitlines()], len(content)

    ids = [f"event-{number}" for number in range(400)]
    together, apart = packed("together", batch_of(*ids)), packed("apart", *(batch_of(event_id) for event_id in ids))
    assert together[0] == apart[0] == ids
    assert apart[1] < 1.1 * together[1]


class Disk:
    """`os` for the journal, with faults."""

    def __init__(self) -> None:
        self.fails: set[str] = set()
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        if name not in ("write", "fdatasync", "ftruncate", "fsync"):
            return real

        def call(*arguments: object) -> object:
            self.calls.append(name)
            if name in self.fails:
                raise OSError(5, "Input/output error")
            return real(*arguments)

        return call


def test_what_could_not_be_taken_back_is_before_anything_else_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that was written whole but not synchronised is refused; were it found later, it would be there twice."""
    disk = Disk()
    monkeypatch.setattr("collector.journal.os", disk)
    journal = make(tmp_path)
    assert keep(journal, batch_of("a")) == ""
    disk.fails = {"fdatasync", "ftruncate"}
    assert "Input/output" in keep(journal, batch_of("b"))
    assert "Input/output" in keep(journal, batch_of("c"))
    with pytest.raises(OSError, match="Input/output"):
        journal.close_segment()
    disk.fails = set()
    assert keep(journal, batch_of("c")) == ""
    assert keep(journal, batch_of("b")) == ""
    journal.end()
    assert ids_stored(journal) == {"a": 1, "b": 1, "c": 1}


def test_a_segment_whose_directory_cannot_be_synchronised_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = make(tmp_path, segment_bytes=1)
    assert keep(journal, batch_of("a")) == ""
    disk = Disk()
    disk.fails = {"fsync"}
    with monkeypatch.context() as patched:
        patched.setattr("collector.files.os", disk)
        assert "Input/output" in keep(journal, batch_of("b"))
    assert len(list(tmp_path.glob("*.events"))) == 1
    assert keep(journal, batch_of("b")) == ""
    journal.end()
    assert ids_stored(journal) == {"a": 1, "b": 1}


def test_what_a_killed_process_left_is_synchronised_before_it_counts_as_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(make(tmp_path), batch_of("a"))
    disk = Disk()
    monkeypatch.setattr("collector.files.os", disk)
    again = make(tmp_path)
    assert "fdatasync" in disk.calls
    assert again.append(batch_of("a")) == 0


def test_an_unexpected_fault_refuses_its_batch_and_the_next_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = make(tmp_path)

    def no_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("collector.journal.os.write", no_memory)
        assert "MemoryError" in keep(journal, batch_of("a"))
    assert keep(journal, batch_of("a")) == ""
    journal.end()
    assert ids_stored(journal) == {"a": 1}


def test_a_log_that_fails_with_the_disk_leaves_nothing_known_that_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = make(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("collector.journal.os.write", full)
        patched.setattr("collector.journal.log", SimpleNamespace(warning=full))
        with pytest.raises(OSError, match="No space"):
            journal.append(batch_of("a"))
    assert keep(journal, batch_of("a")) == ""
    journal.end()
    assert ids_stored(journal) == {"a": 1}


def test_events_that_someone_deletes_are_told_and_the_next_ones_are_kept(tmp_path: Path) -> None:
    """`rm -rf /tmp/ray` is a habit."""
    told: list[int] = []
    journal = make(tmp_path / "journal", deleted=told.append)
    assert keep(journal, batch_of("a")) == ""
    held = journal.size
    shutil.rmtree(tmp_path / "journal")
    assert "deleted" in keep(journal, batch_of("b"))
    assert told == [held]
    assert keep(journal, batch_of("b")) == ""
    journal.close_segment()
    assert ids_stored(journal) == {"b": 1}
    (segment,) = journal.closed()
    segment.unlink()
    journal.give_up(segment)
    assert told == [held, held]
    assert (journal.closed(), journal.size) == ([], 0)


def test_a_segment_that_is_uploaded_stays_so_when_cleaning_up_after_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = make(tmp_path)
    keep(journal, batch_of("a"))
    journal.end()
    (segment,) = journal.closed()
    disk = Disk()
    disk.fails = {"fsync"}
    monkeypatch.setattr("collector.files.os", disk)
    with pytest.raises(OSError, match="Input/output"):
        journal.finish(segment)
    assert journal.closed() == []


def test_recent_ids_forget_the_oldest_first() -> None:
    recent = RecentIds(kept=3)
    for number in range(10):
        recent.add([str(number)])
        assert str(number) in recent
    assert "0" not in recent
    assert "" not in recent
