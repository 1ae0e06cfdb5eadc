"""Reading ahead: in order, concurrently, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.port import ObjectInfo
from shared.storage.read_ahead import read_ahead
from tests.waiting import wait_until


def objects(*sizes: int) -> list[ObjectInfo]:
    return [ObjectInfo(str(number), size) for number, size in enumerate(sizes)]


class Reader:
    """Counts the bytes that were read and not yet taken over by the caller."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held = self.peak = self.reads = 0

    def __call__(self, info: ObjectInfo) -> bytes:
        with self.lock:
            self.reads += 1
            self.held += info.size
            self.peak = max(self.peak, self.held)
        return b"x" * info.size

    def consume(self, answers: Iterator[tuple[ObjectInfo, object]]) -> list[str]:
        seen = []
        for info, content in answers:
            assert content == b"x" * info.size
            seen.append(info.key)
            with self.lock:
                self.held -= info.size
        return seen


@pytest.mark.parametrize("batch", [1, 7])
def test_in_order_within_the_budget(batch: int) -> None:
    reader = Reader()
    given = objects(*([100, 3, 0, 999, 40] * 100))
    seen = reader.consume(read_ahead(given, reader, threads=8, budget=2000, batch_objects=batch, batch_bytes=500))
    assert seen == [info.key for info in given]
    # A batch is given back as a whole, so what the caller has of it counts twice here at most.
    assert reader.peak <= 2000 + 999


def test_an_object_beyond_the_budget_is_read_alone() -> None:
    reader = Reader()
    assert reader.consume(read_ahead(objects(10, 5000, 10, 5000), reader, threads=4, budget=1000)) == ["0", "1", "2", "3"]
    assert reader.peak <= 5000


def test_reads_at_once() -> None:
    together = threading.Barrier(4, timeout=30)

    def read(info: ObjectInfo) -> bytes:
        together.wait()
        return info.key.encode()

    assert [content for _, content in read_ahead(objects(1, 1, 1, 1), read, threads=4, budget=100)] == [b"0", b"1", b"2", b"3"]


def test_the_objects_are_asked_for_as_they_are_needed() -> None:
    asked: list[str] = []

    def endless() -> Iterator[ObjectInfo]:
        while True:
            asked.append(str(len(asked)))
            yield ObjectInfo(asked[-1], 10)

    answers = read_ahead(endless(), Reader(), threads=2, budget=100)
    assert [next(answers)[0].key for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert len(asked) < 20
    answers.close()


def test_failures_stand_in_their_place_and_bugs_are_not_hidden() -> None:
    def read(info: ObjectInfo) -> bytes:
        if info.key == "1":
            raise ObjectNotFound("1")
        if info.key == "2":
            raise StorageUnavailable("2")
        if info.key == "4":
            raise ZeroDivisionError
        return b"x"

    answers = read_ahead(objects(1, 1, 1, 1, 1), read, threads=2, budget=100)
    kinds = [type(next(answers)[1]) for _ in range(4)]
    assert kinds == [bytes, ObjectNotFound, StorageUnavailable, bytes]
    with pytest.raises(ZeroDivisionError):
        next(answers)


def test_leaving_early_ends_the_threads() -> None:
    before = threading.active_count()
    answers = read_ahead(objects(*[10] * 1000), Reader(), threads=4, budget=100)
    next(answers)
    answers.close()
    wait_until(lambda: threading.active_count() <= before, "the reading threads end")


def test_a_listing_that_fails_fails_the_reading() -> None:
    def listing() -> Iterator[ObjectInfo]:
        yield ObjectInfo("0", 1)
        raise StorageUnavailable("the listing broke")

    with pytest.raises(StorageUnavailable, match="the listing broke"):
        list(read_ahead(listing(), Reader(), threads=2, budget=100))
