"""Which bytes of a log an answer holds, whatever its size, packing and line ends."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.logs.content import ALL_LINES, LogFile, content, without_ansi
from shared.errors import ObjectNotFound, StorageUnavailable
from shared.storage.local import LocalStorage


def _reference(text: bytes, lines: int) -> bytes:
    """The last lines by the plain definition: a last line without newline is a line."""
    kept = text.splitlines(keepends=True) if b"\r" not in text else text.split(b"\n")
    return b"".join(kept[-lines:]) if lines > 0 else b""


class _Counting(LocalStorage):
    """Counts what is read from the store."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read_bytes = 0
        self.calls = 0

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.calls += 1
        data = super().read_range(key, start, length)
        self.read_bytes += len(data)
        return data

    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        for chunk in super().stream(key, start, length):
            self.read_bytes += len(chunk)
            yield chunk


@pytest.fixture
def storage(tmp_path: Path) -> _Counting:
    return _Counting(tmp_path)


def _file(storage: _Counting, tmp_path: Path, data: bytes, *, packed: bool = False, start: int = 0, end: int | None = None) -> LogFile:
    key = "a.log.gz" if packed else "a.log"
    (tmp_path / key).write_bytes(gzip.compress(data) if packed else data)
    return LogFile(key, storage.size(key), start, end)


def _text(storage: _Counting, file: LogFile, lines: int = ALL_LINES, *, strip_ansi: bool = False) -> bytes:
    chunks = list(content(storage, file, lines, strip_ansi=strip_ansi))
    assert all(chunks)
    return b"".join(chunks)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("text", [b"", b"\n", b"one", b"one\n", b"one\ntwo", b"one\n\n\ntwo\n", "ä\nöü\n€".encode()])
@pytest.mark.parametrize("lines", [1, 2, 3, 1000, ALL_LINES])
def test_last_lines_of_small_logs(storage: _Counting, tmp_path: Path, text: bytes, lines: int, packed: bool) -> None:
    expected = text if lines == ALL_LINES else _reference(text, lines)
    assert _text(storage, _file(storage, tmp_path, text, packed=packed), lines) == expected


@pytest.mark.parametrize("packed", [False, True])
def test_last_lines_of_large_logs(storage: _Counting, tmp_path: Path, packed: bool) -> None:
    chance = random.Random(7)
    text = b"".join(b"%d " % n + b"x" * int(chance.expovariate(1 / 150)) + b"\n" for n in range(30_000)) + b"unfinished"
    file = _file(storage, tmp_path, text, packed=packed)
    for lines in (1, 2, 999, 1000, 20_000, 30_000, 30_001, 30_002, 10**12):
        assert _text(storage, file, lines) == _reference(text, lines), lines
    assert _text(storage, file) == text


@given(st.lists(st.text(alphabet="ab\u00fc\u4f60", max_size=30), max_size=60), st.integers(0, 70), st.booleans(), st.booleans(), st.data())
def test_equals_the_end_of_the_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], lines: int, ended: bool, packed: bool, data: st.DataObject
) -> None:
    text = "\n".join(texts).encode() + (b"\n" if ended else b"")
    start = data.draw(st.integers(0, len(text) + 2))
    end = data.draw(st.one_of(st.none(), st.integers(start, len(text) + 2)))
    directory = tmp_path_factory.mktemp("logs")
    storage = _Counting(directory)
    assert _text(storage, _file(storage, directory, text, packed=packed, start=start, end=end), lines) == _reference(text[start:end], lines)


def test_a_packed_tail_larger_than_what_is_held_is_whole(storage: _Counting, tmp_path: Path) -> None:
    text = b"".join(b"line %d\n" % number for number in range(3_000_000))
    file = _file(storage, tmp_path, text, packed=True)
    for lines in (2_900_000, 1_000_000, 500_000, 1000):
        assert _text(storage, file, lines) == b"".join(text.splitlines(keepends=True)[-lines:]), lines


def test_a_task_s_lines_end_where_its_range_ends(storage: _Counting, tmp_path: Path) -> None:
    text = b"before\nmine 1\nmine 2\nafter\n"
    mine = _file(storage, tmp_path, text, start=7, end=21)
    assert _text(storage, mine) == b"mine 1\nmine 2\n"
    assert _text(storage, mine, 1) == b"mine 2\n"
    assert _text(storage, mine, 100) == b"mine 1\nmine 2\n"
    assert storage.calls == 2, "one ranged GET each"
    packed = _file(storage, tmp_path, text, packed=True, start=7, end=21)
    assert [_text(storage, packed, lines) for lines in (ALL_LINES, 1, 100)] == [b"mine 1\nmine 2\n", b"mine 2\n", b"mine 1\nmine 2\n"]
    assert _text(storage, _file(storage, tmp_path, text, start=7, end=7)) == b""
    assert _text(storage, _file(storage, tmp_path, text, start=7, end=7), 10) == b""
    assert _text(storage, _file(storage, tmp_path, text, start=21), 10) == b"after\n"
    assert _text(storage, _file(storage, tmp_path, text, start=21, end=10**9), ALL_LINES) == b"after\n"
    assert _text(storage, _file(storage, tmp_path, text, start=10**9), 10) == b""


def test_last_lines_cost_what_they_are(storage: _Counting, tmp_path: Path) -> None:
    line = b"2026-11-23 19:03:06,449 INFO something happened that is worth a line of about a hundred bytes %09d\n"
    with (tmp_path / "a.log").open("wb") as log:
        for block in range(100):
            log.write(b"".join(line % (block * 10_000 + n) for n in range(10_000)))
    file = LogFile("a.log", storage.size("a.log"))
    assert file.size > 90_000_000
    assert _text(storage, file, 1000) == b"".join(line % n for n in range(999_000, 1_000_000))
    assert storage.read_bytes < 2 << 20
    assert storage.calls == 1


@pytest.mark.parametrize("packed", [False, True])
def test_memory_is_bounded_when_most_of_a_large_log_is_wanted(storage: _Counting, tmp_path: Path, packed: bool) -> None:
    file = _file(storage, tmp_path, (b"y" * 79 + b"\n") * 800_000, packed=packed)
    tracemalloc.start()
    try:
        size = sum(len(chunk) for chunk in content(storage, file, 700_000, strip_ansi=True))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 700_000 * 80
    assert peak < 32 << 20


@pytest.mark.parametrize("packed", [False, True])
def test_an_endless_line_is_cut_between_characters(storage: _Counting, tmp_path: Path, packed: bool) -> None:
    text = b"xx" + "€".encode() * (24 << 20)
    file = _file(storage, tmp_path, text, packed=packed)
    size = 0
    first = b""
    for chunk in content(storage, file, 1, strip_ansi=False):
        first = first or chunk
        size += len(chunk)
    assert first[:100].decode(errors="ignore")[0] == "€"
    assert first[:3] == "€".encode()
    assert 60 << 20 < size < len(text)


def test_colours_are_taken_out_also_between_chunks() -> None:
    text = b"\x1b[36mblue\x1b[0m plain \x1b[1;31mred\x1b[0m \x1b[K \x1b"
    whole = b"blue plain red \x1b[K \x1b"
    for size in range(1, len(text)):
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        assert b"".join(without_ansi(chunks)) == whole, size


def test_what_only_looks_like_a_colour_is_not_held_for_ever() -> None:
    chunks = without_ansi([b"\x1b[" + b"1" * 1000, b"2" * 10])
    assert b"".join(chunks) == b"\x1b[" + b"1" * 1000 + b"2" * 10


def test_an_absent_log_and_one_that_is_replaced_meanwhile(storage: _Counting, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound):
        _text(storage, LogFile("nope.log", 10))
    file = _file(storage, tmp_path, b"one\n" * 10)
    (tmp_path / "a.log").write_bytes(b"short")
    with pytest.raises(StorageUnavailable):
        _text(storage, file, 5)


def test_a_packed_log_that_was_cut_gives_its_beginning(storage: _Counting, tmp_path: Path) -> None:
    text = b"".join(b"line %d\n" % n for n in range(100_000))
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(text)[:-2000])
    shown = _text(storage, LogFile("a.log.gz", 1))
    assert len(shown) > len(text) // 2
    assert text.startswith(shown)
