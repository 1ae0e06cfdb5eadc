"""Bytes of one stored log: a range of it, its last lines, unpacked, without colours; in bounded memory whatever its size.

Which bytes the last lines are mirrors `find_start_offset_last_n_lines_from_offset` of Ray's `log_agent`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from shared.errors import StorageUnavailable
from shared.storage.gz import unpacked
from shared.storage.lines import last_lines
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
    """Chunks, none empty, of the file's last `lines` lines; of all when ALL_LINES. Raises ObjectNotFound, StorageUnavailable."""
    chunks: Iterable[bytes]
    if lines < ALL_LINES:
        return
    if file.key.endswith(".gz"):
        chunks = _packed(storage, file, lines)
    elif lines == ALL_LINES:
        chunks = _plain(storage, file)
    else:
        chunks = _last_lines(storage, file, lines)
    yield from filter(None, without_ansi(chunks) if strip_ansi else chunks)


def _packed(storage: Storage, file: LogFile, lines: int) -> Iterator[bytes]:
    if lines == ALL_LINES:
        return _between(unpacked(storage.stream(file.key)), file.start, file.end)
    return iter([last_lines(storage, file.key, lines, start=file.start, end=file.end)])


def _between(chunks: Iterable[bytes], start: int, end: int | None) -> Iterator[bytes]:
    at = 0
    for chunk in chunks:
        yield chunk[max(0, start - at) : None if end is None else max(0, end - at)]
        at += len(chunk)
        if end is not None and at >= end:
            return


def _plain(storage: Storage, file: LogFile) -> Iterator[bytes]:
    end = _end(file)
    return storage.stream(file.key, file.start, end - file.start) if file.start < end else iter(())


def _end(file: LogFile) -> int:
    return file.size if file.end is None else min(file.end, file.size)


def _last_lines(storage: Storage, file: LogFile, lines: int) -> Iterator[bytes]:
    """Reads backwards for the start of the lines. They may be far more than should be held: `last_lines` would cut them."""
    end = _end(file)
    stop = max(file.start, end - max(lines * _LONGEST_LINE, _LEAST_LOOK_BACK))
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
