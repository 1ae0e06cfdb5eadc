"""The last lines of logs, by ranges from the end."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ObjectNotFound
from shared.storage import lines
from shared.storage.gz import unpacked
from shared.storage.lines import last_lines
from shared.storage.local import LocalStorage


class Counting(LocalStorage):
    """Counts what is read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[tuple[int, int]] = []

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.reads.append((start, length))
        return super().read_range(key, start, length)

    def read(self, key: str) -> bytes:
        raise AssertionError("reads the whole object")


def stored(directory: Path, content: bytes, name: str = "a.log") -> Counting:
    (directory / name).write_bytes(content)
    return Counting(directory)


def expected(content: bytes, count: int) -> bytes:
    found = content.splitlines(keepends=True) if b"\r" not in content else content.split(b"\n")
    return b"".join(found[-count:]) if count else b""


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 100])
@pytest.mark.parametrize("content", [b"", b"\n", b"a", b"a\n", b"a\nb", b"a\nb\n", b"\n\n\n", b"a\n\nb\n", b"\nb"])
def test_small_logs(tmp_path: Path, content: bytes, count: int) -> None:
    assert last_lines(stored(tmp_path, content), "a.log", count) == expected(content, count)


@given(st.lists(st.text(alphabet="ab\u00fc\u4f60", max_size=30), max_size=60), st.integers(0, 70), st.booleans(), st.booleans(), st.data())
def test_equals_the_end_of_the_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], count: int, ended: bool, packed: bool, data: st.DataObject
) -> None:
    content = "\n".join(texts).encode() + (b"\n" if ended else b"")
    start = data.draw(st.integers(0, len(content) + 2))
    end = data.draw(st.one_of(st.none(), st.integers(0, len(content) + 2)))
    name = "a.log.gz" if packed else "a.log"
    storage = stored(tmp_path_factory.mktemp("logs"), gzip.compress(content) if packed else content, name)
    piece = content[start:end] if end is None or end > start else b""
    assert last_lines(storage, name, count, start=start, end=end) == expected(piece, count)


@pytest.mark.parametrize("length", [3, 80, 1500])
def test_reads_little_more_than_it_returns(tmp_path: Path, length: int) -> None:
    dice = random.Random(2)
    content = b"".join(b"x" * dice.randrange(length) + b"\n" for _ in range(30_000_000 // length))
    storage = stored(tmp_path, content)
    answer = last_lines(storage, "a.log", 1000)
    assert answer == b"".join(content.splitlines(keepends=True)[-1000:])
    assert sum(length for _, length in storage.reads) <= 1.6 * len(answer) + (256 << 10)
    assert len(storage.reads) <= 3
    assert len(set(storage.reads)) == len(storage.reads)


def test_usual_lines_take_one_read(tmp_path: Path) -> None:
    storage = stored(tmp_path, b"2026-11-24 12:00:00,000 INFO worker.py:123 -- something of the usual length happened here\n" * 100_000)
    assert last_lines(storage, "a.log", 1000).count(b"\n") == 1000
    assert len(storage.reads) == 1


def test_a_line_without_end_is_bounded_and_cut_between_characters(tmp_path: Path) -> None:
    content = "\u4f60".encode() * 100_000
    storage = stored(tmp_path, content)
    answer = last_lines(storage, "a.log", 10, max_bytes=100_000)
    assert 99_997 <= len(answer) <= 100_000
    assert content.endswith(answer)
    assert answer.decode()
    assert sum(length for _, length in storage.reads) == 100_000


def test_whole_lines_only_where_the_bound_allows(tmp_path: Path) -> None:
    content = b"".join(b"%09d\n" % number for number in range(1000))
    answer = last_lines(stored(tmp_path, content), "a.log", 5, max_bytes=1000)
    assert answer == content[-50:]
    packed = stored(tmp_path, gzip.compress(content), "a.log.gz")
    assert last_lines(packed, "a.log.gz", 5, max_bytes=1000) == content[-50:]
    assert len(last_lines(packed, "a.log.gz", 500, max_bytes=1000)) == 1000


def test_an_absent_log_is_not_found(tmp_path: Path) -> None:
    for name in ("none.log", "none.log.gz"):
        with pytest.raises(ObjectNotFound):
            last_lines(LocalStorage(tmp_path), name, 10)


def test_a_log_that_shrinks_while_it_is_read_still_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = stored(tmp_path, b"one\ntwo\n")
    monkeypatch.setattr(storage, "size", lambda _key: 1_000_000)
    assert last_lines(storage, "a.log", 1) in (b"two\n", b"")


@pytest.mark.parametrize("step", [1, 2, 7, 1000, 1 << 20])
def test_unpacks_members_whatever_the_chunks(step: int) -> None:
    parts = [b"first " * 100, b"", bytes(range(256)) * 3]
    packed = b"".join(gzip.compress(part) for part in parts)
    assert b"".join(unpacked(packed[at : at + step] for at in range(0, len(packed), step))) == b"".join(parts)


@pytest.mark.parametrize("content", [b"", b"\x1f", b"plain text", b"\x1f\x8c no gzip"])
def test_what_is_no_gzip_comes_as_it_is(content: bytes) -> None:
    assert b"".join(unpacked([content[:1], content[1:]])) == content


def test_cut_or_damaged_gzip_gives_what_can_be_read() -> None:
    content = random.Random(4).randbytes(300_000)
    packed = gzip.compress(content)
    cut = b"".join(unpacked([packed[:200_000]]))
    assert len(cut) > 100_000
    assert content.startswith(cut)
    damaged = bytearray(gzip.compress(b"abc" * 100_000))
    damaged[200:] = b"\xff" * len(damaged[200:])
    assert (b"abc" * 100_000).startswith(b"".join(unpacked([bytes(damaged)])))
    assert b"".join(unpacked([packed, b"\0" * 100])) == content


def test_a_bomb_unpacks_in_bounded_pieces() -> None:
    assert max(map(len, unpacked([gzip.compress(bytes(50 << 20))]))) <= 1 << 20


def test_the_tail_of_a_large_packed_log_is_kept_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"".join(b"line %d\n" % number for number in range(2_000_000))
    storage = stored(tmp_path, gzip.compress(content, 1), "a.log.gz")
    held: list[int] = []
    real = lines._tail
    monkeypatch.setattr(lines, "_tail", lambda data, *rest, **options: held.append(len(data)) or real(data, *rest, **options))
    assert last_lines(storage, "a.log.gz", 1000) == b"".join(content.splitlines(keepends=True)[-1000:])
    assert held[0] <= 3 << 20
