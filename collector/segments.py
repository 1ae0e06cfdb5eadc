"""Files of the journal: records of events, appended and checked by length and CRC, so that a torn end is known as such.

A record is `<length, crc of the rest>`, a line of JSON that says what follows, and the events' lines, those of one place together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from isal import isal_zlib

from collector.batches import Group, Place

_FRAME = struct.Struct("<II")
LONGEST = 1 << 30
"""No record is longer, whatever body it was made of: a frame that says so is damage, and is not allocated."""
_SHORTEST = len(b"[]\n")


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Events of one place in one record: how many, and how many bytes, each line with its newline."""

    session: str
    node: str
    directory: str
    events: int
    size: int

    @property
    def place(self) -> Place:
        return Place(self.session, self.node, self.directory)


_decode = msgspec.json.Decoder(list[Chunk]).decode


def record(groups: Sequence[Group]) -> bytes:
    """One record with these events."""
    chunks = [Chunk(*group.place, len(group.ids), len(group.text)) for group in groups]
    head = msgspec.json.encode(chunks) + b"\n"
    crc, length = isal_zlib.crc32(head), len(head)
    for group in groups:
        crc = isal_zlib.crc32(group.text, crc)
        length += len(group.text)
    return b"".join([_FRAME.pack(length, crc), head, *(group.text for group in groups)])


def read_records(path: Path, damaged: Callable[[int], None] | None = None) -> Iterator[tuple[int, list[Chunk], memoryview]]:
    """(offset of the lines in the file, what they are, the lines) of every whole record.

    A torn end was never acknowledged; of a damaged record within, `damaged` is told the bytes.
    """
    with path.open("rb") as file:
        at = 0
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            length, crc = _FRAME.unpack(frame)
            payload = file.read(length) if _SHORTEST <= length <= LONGEST else b""
            if not payload or len(payload) < length:
                return
            at += _FRAME.size
            if isal_zlib.crc32(payload) == crc:
                head = payload.index(b"\n") + 1
                yield at + head, _decode(payload[:head]), memoryview(payload)[head:]
            elif damaged:
                damaged(length)
            at += length


def read_places(path: Path, damaged: Callable[[int], None] | None = None) -> dict[Place, list[tuple[int, int, int]]]:
    """Where in the file the events of each place are: (offset, bytes, events)."""
    places: dict[Place, list[tuple[int, int, int]]] = {}
    for offset, chunks, _ in read_records(path, damaged):
        at = offset
        for chunk in chunks:
            places.setdefault(chunk.place, []).append((at, chunk.size, chunk.events))
            at += chunk.size
    return places


class _Id(msgspec.Struct):
    eventId: str = ""  # noqa: N815 - Ray's spelling


_decode_id = msgspec.json.Decoder(_Id).decode


def ids_in(path: Path) -> Iterator[str]:
    """The ids of a segment's events."""
    for _, _, lines in read_records(path):
        for line in bytes(lines).split(b"\n"):
            with suppress(msgspec.MsgspecError):
                yield _decode_id(line).eventId
