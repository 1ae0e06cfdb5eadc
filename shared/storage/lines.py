"""The last lines of a stored log, at the cost of those lines and not of the log.

Lines are counted as Ray's `dashboard/modules/log/log_agent.py` counts them: a last line without newline is a line.
"""

from __future__ import annotations

from collections import deque

from shared.storage.gz import unpacked
from shared.storage.port import Storage

MAX_BYTES = 16 << 20
"""A bound on what one call holds: of a longer line, or of more lines than fit, only the end is returned."""

_LEAST = 64 << 10
_MOST = 4 << 20
_GUESSED_LINE = 192


def last_lines(storage: Storage, key: str, count: int, *, start: int = 0, end: int | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """The last `count` lines of the log, or of its bytes `start` to `end`; never more than `max_bytes`.

    A plain log is read from its end by ranges whose size follows the lines seen so far. A `.gz` log is decoded as it
    streams, and offsets count decoded bytes. Where `max_bytes` cuts a line, it is cut between characters.
    Raises ObjectNotFound, StorageUnavailable.
    """
    if count <= 0 or (end is not None and end <= start):
        return b""
    if key.endswith(".gz"):
        return _of_stream(storage, key, count, start, end, max_bytes)
    size = storage.size(key)
    stop = size if end is None else min(end, size)
    floor = max(start, stop - max_bytes)
    chunks: deque[bytes] = deque()
    position, held, newlines = stop, 0, 0
    # One newline more than lines: the one before the first of them. One less when the last line has none: see below.
    while position > floor and newlines <= count:
        length = min(position - floor, _next_length(count, held, newlines))
        chunk = storage.read_range(key, position - length, length)
        chunks.appendleft(chunk)
        position -= length
        held += len(chunk)
        newlines += chunk.count(b"\n")
    return _tail(b"".join(chunks), count, whole=position <= start)


def _next_length(count: int, held: int, newlines: int) -> int:
    """Enough for the missing lines if they are as long as those seen, and a little more; grows where no newline was seen."""
    if not held:
        wanted = (count + 1) * _GUESSED_LINE
    elif not newlines:
        wanted = 2 * held
    else:
        wanted = (count + 1 - newlines) * held * 5 // (4 * newlines)
    return max(_LEAST, min(wanted, _MOST))


def _of_stream(storage: Storage, key: str, count: int, start: int, end: int | None, max_bytes: int) -> bytes:
    kept: deque[bytes] = deque()
    held = position = dropped = 0
    newlines: deque[int] = deque()
    for chunk in unpacked(storage.stream(key)):
        piece = chunk[max(0, start - position) : None if end is None else max(0, end - position)]
        position += len(chunk)
        if piece:
            kept.append(piece)
            newlines.append(piece.count(b"\n"))
            held += len(piece)
        # What stands before the last `count` lines goes, and so does what is beyond the bound.
        while len(kept) > 1 and (held - len(kept[0]) >= max_bytes or sum(newlines) - newlines[0] > count):
            held -= len(kept.popleft())
            newlines.popleft()
            dropped = 1
        if end is not None and position >= end:
            break
    joined = b"".join(kept)
    return _tail(joined[-max_bytes:], count, whole=not dropped and len(joined) <= max_bytes)


def _tail(data: bytes, count: int, *, whole: bool) -> bytes:
    """The last `count` lines of `data`; `whole`: its first byte is where the text begins, not where reading stopped."""
    position = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(count):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            return data if whole else data[_character_start(data) :]
    return data[position + 1 :]


def _character_start(data: bytes) -> int:
    """How many bytes at the beginning are the rest of a UTF-8 character that was cut."""
    return next((at for at, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
