"""Event files to chunks of whole lines: gzip, arrays, limits, damage."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.task_lines import defined, lived, profiled, rows
from workers.event_texts import UnreadableFile, texts
from workers.task_events.ranges import Ranges
from workers.task_events.split import Splitter

EVENTS = [defined(), lived(("RUNNING", 1)), profiled(("task", 1, 2))]
MIB = 1 << 20


def _read(data: bytes | Iterable[bytes], longest: int = MIB, most: int = 64 * MIB) -> tuple[bytes, str | None]:
    """All that could be read, and the code of the problem."""
    found: list[bytes] = []
    try:
        found.extend(texts([data] if isinstance(data, bytes) else data, longest, most))
    except UnreadableFile as exc:
        return b"".join(found), exc.code
    return b"".join(found), None


def test_gzip_is_told_by_its_bytes() -> None:
    text = b"\n".join(EVENTS)
    for data in (text, gzip.compress(text), gzip.compress(text[:50]) + gzip.compress(text[50:])):
        assert _read(data) == (text, None)
    assert _read(b"") == (b"", None)
    assert _read(gzip.compress(b"")) == (b"", None)


@given(cut=st.integers(2, 3000), flip=st.booleans())
def test_of_a_damaged_gzip_file_what_came_before_is_kept(cut: int, flip: bool) -> None:
    text = b"\n".join(b"%d %s" % (number, Random(number).randbytes(40).hex().encode()) for number in range(100))
    packed = gzip.compress(text)
    cut = min(cut, len(packed) - 1)
    damaged = packed[:cut] + bytes([packed[cut] ^ 0xFF]) + packed[cut + 1 :] if flip else packed[:cut]
    found, problem = _read(damaged)
    if flip and problem is None:
        assert found == text, "only what nobody checks was changed"
        return
    assert problem == "bad_gzip"
    if not flip:
        assert text.startswith(found)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_array_of_older_collectors_is_lines(indent: int | None, size: int) -> None:
    array = b" \n" + json.dumps([json.loads(event) for event in EVENTS], indent=indent).encode()
    found, problem = _read(array[at : at + size] for at in range(0, len(array), size))
    assert problem is None
    assert [json.loads(line) for line in found.split(b"\n") if line] == [json.loads(event) for event in EVENTS]


def test_of_an_array_that_is_cut_off_what_is_whole_is_kept() -> None:
    array = b"[" + b",".join(EVENTS) + b"]"
    ends = [array.index(event) + len(event) for event in EVENTS]
    for cut in range(1, len(array)):
        found, problem = _read(array[:cut])
        assert problem == "bad_json"
        assert len([line for line in found.split(b"\n") if line]) == sum(end <= cut for end in ends)


@pytest.mark.parametrize("text", [b"[]", b"[ ]\n", b"[]\n[]"])
def test_an_empty_array_is_no_loss(text: bytes) -> None:
    assert _read(text) == (b"", None)


def test_braces_in_texts_end_nothing() -> None:
    array = json.dumps([{"a": '}]"\\', "b": [{}]}, {"c": "\\"}])
    assert [json.loads(line) for line in _read(array.encode())[0].splitlines()] == json.loads(array)


@pytest.mark.parametrize("size", [1000, 4 * MIB])
def test_a_line_that_is_too_long_costs_itself_and_is_said(size: int) -> None:
    text = b"first\n" + b"x" * (3 * MIB) + b"\nlast\n"
    found, problem = _read(text[at : at + size] for at in range(0, len(text), size))
    assert problem == "line_too_long"
    assert found == b"first\nlast\n"
    assert _read(b"x" * (3 * MIB)) == (b"", "line_too_long")


def test_what_is_beyond_the_limit_of_a_file_is_left_out_and_said() -> None:
    line = b"x" * 99 + b"\n"
    found, problem = _read(gzip.compress(line * 100_000), most=2 * MIB)
    assert problem == "file_too_large"
    assert MIB <= len(found) <= 2 * MIB


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert _read(b"\xef\xbb\xbf{}\n") == (b"{}\n", None)


def test_recorded_files_are_read_whole(recorded: Path) -> None:
    for file in (recorded / "bucket" / "cluster-history").glob("**/*_events/**/*.jsonl*"):
        text, problem = _read(file.read_bytes())
        splitter = Splitter(Ranges(5))
        splitter.feed(text)
        assert (problem, splitter.skipped.total) == (None, 0)
        assert splitter.events == text.count(b'"eventType"')


def test_an_array_gives_the_rows_of_its_lines() -> None:
    array = json.dumps([json.loads(event) for event in EVENTS], indent=1).encode()
    assert rows([_read(array)[0]]) == rows(EVENTS)
