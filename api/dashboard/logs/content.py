"""Bytes of one stored log: a range of it, its last lines, unpacked, without colours; in bounded memory whatever its size.

Which bytes the last lines are mirrors `find_start_offset_last_n_lines_from_offset` of Ray's `log_agent`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from shared.errors import StorageUnavailable
from shared.storage.gz import unpacked
from shared.storage.port import Storage

ALL_LINES = -1

_FIRST_BLOCK = 1 << 17
_LARGEST_BLOCK = 1 << 20
_BYTES_PER_LINE = 200
# What a reader of last lines keeps while it looks for their start; beyond that the bytes are read again, so as to stream them.
_KEPT = 1 << 23
# How far back the start of that many lines is looked for at most, in bytes per line: some "logs" are one endless line.
_LONGEST_LINE = 1 << 16
_LEAST_LOOK_BACK = 1 << 26
_UTF8_CONTINUATION = bytes(range(0x80, 0xC0))

_ANSI = re.compile(rb"\x1b\[[(0-9);]+m")
_UNFINISHED_ANSI = re.compile(rb"\x1b(\[[(0-9);]{0,64})?\Z")


@dataclass(frozen=True, slots=True)
class LogFile:
    """One stored log, or the bytes from `start` to before `end` of what it holds unpacked. `size` is that of the object."""

    key: str
    size: int
    start: int = 0
    end: int | None = None


def content(storage: Storage, file: LogFile, lines: int, *, strip_ansi: bool) -> Generator[bytes]:
    """Chunks, none empty, of the file's last `lines` lines; of all when ALL_LINES. Raises ObjectNotFound, StorageUnavailable.

    A `.gz` log is read as the text that it holds, with the same limits.
    """
    chunks: Iterable[bytes]
    if lines < ALL_LINES or not lines:
        return
    if file.key.endswith(".gz"):
        chunks = _unpacked(storage, file) if lines == ALL_LINES else _last_lines_unpacked(storage, file, lines)
    else:
        chunks = _plain(storage, file) if lines == ALL_LINES else _last_lines(storage, file, lines)
    yield from filter(None, without_ansi(chunks) if strip_ansi else chunks)


def _plain(storage: Storage, file: LogFile) -> Iterator[bytes]:
    end = _end(file)
    return storage.stream(file.key, file.start, end - file.start) if file.start < end else iter(())


def _unpacked(storage: Storage, file: LogFile) -> Iterator[bytes]:
    position = 0
    for chunk in unpacked(storage.stream(file.key)):
        yield chunk[max(0, file.start - position) : None if file.end is None else max(0, file.end - position)]
        position += len(chunk)
        if file.end is not None and position >= file.end:
            return


def _end(file: LogFile) -> int:
    return file.size if file.end is None else min(file.end, file.size)


def _look_back(lines: int) -> int:
    """How many bytes before the end the start of so many lines is looked for."""
    return max(lines * _LONGEST_LINE, _LEAST_LOOK_BACK)


def _last_lines_unpacked(storage: Storage, file: LogFile, lines: int) -> Iterator[bytes]:
    """Text can only be unpacked forwards: one pass if the lines fit in what is held, else a second one from where they start."""
    held: deque[bytes] = deque()
    size = newlines = held_size = held_newlines = 0
    sizes, newlines_by = [0], [0]
    for chunk in _unpacked(storage, file):
        held.append(chunk)
        size += len(chunk)
        newlines += chunk.count(b"\n")
        sizes.append(size)
        newlines_by.append(newlines)
        held_size += len(chunk)
        held_newlines += chunk.count(b"\n")
        while held_size - len(held[0]) > _KEPT:
            dropped = held.popleft()
            held_size -= len(dropped)
            held_newlines -= dropped.count(b"\n")
    unfinished = bool(held) and not held[-1].endswith(b"\n")
    before = max(0, newlines + unfinished - lines)
    gone = newlines - held_newlines
    if held_size == size or gone < before:
        yield from _after_newlines(held, before - gone)
        return
    held.clear()
    floor = max(0, size - _look_back(lines))
    if not floor or before > newlines_by[bisect_left(sizes, floor)]:
        yield from _after_newlines(_unpacked(storage, file), before)
    else:
        yield from _after_bytes(_unpacked(storage, file), floor)


def _after_newlines(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        if not count:
            yield chunk
        elif (found := chunk.count(b"\n")) < count:
            count -= found
        else:
            yield chunk.split(b"\n", count)[-1]
            count = 0


def _after_bytes(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Not the start of a line, and perhaps the middle of a character."""
    for chunk in chunks:
        if not size:
            yield chunk
        elif len(chunk) <= size:
            size -= len(chunk)
        else:
            yield chunk[size:].lstrip(_UTF8_CONTINUATION)
            size = 0


def _last_lines(storage: Storage, file: LogFile, lines: int) -> Iterator[bytes]:
    """Reads backwards for the start of the lines, and streams what is more than should be held."""
    end = _end(file)
    stop = max(file.start, end - _look_back(lines))
    kept: deque[bytes] = deque()
    held = 0
    at = end
    missing = lines
    block = min(max(_FIRST_BLOCK, lines * _BYTES_PER_LINE), _LARGEST_BLOCK)
    while at > stop and missing >= 0:
        start = max(stop, at - block)
        data = _exactly(storage, file.key, start, at - start)
        if at == end and not data.endswith(b"\n"):
            missing -= 1
        newlines = data.count(b"\n")
        if newlines > missing:
            data = data.split(b"\n", newlines - missing)[-1]
        missing -= newlines
        at = start if missing >= 0 else at - len(data)
        kept.appendleft(data)
        held += len(data)
        if held > _KEPT:
            held -= len(kept.pop())
        block = _LARGEST_BLOCK
    rest = end - at - held
    if kept and missing >= 0 and at > file.start:
        # Not the start of a line, and perhaps the middle of a character.
        kept[0] = kept[0].lstrip(_UTF8_CONTINUATION)
    yield from kept
    if rest > 0:
        yield from storage.stream(file.key, at + held, rest)


def _exactly(storage: Storage, key: str, start: int, length: int) -> bytes:
    data = storage.read_range(key, start, length)
    if len(data) != length:
        raise StorageUnavailable(f"{key} was cut or replaced while it was read")
    return data


def without_ansi(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Colour escapes taken out (live's pattern), also those that two chunks share."""
    held = b""
    for chunk in chunks:
        text = _ANSI.sub(b"", held + chunk)
        unfinished = _UNFINISHED_ANSI.search(text, max(0, len(text) - 80))
        held = text[unfinished.start() :] if unfinished else b""
        yield text[: len(text) - len(held)]
    yield held
