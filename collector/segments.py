"""Files of the journal: records of events, appended and checked by length and CRC, so that a torn end is known as such.

A record is `<length, crc of the rest>`, a line of JSON that says what follows, and the events' lines, those of one place together in
one gzip member: less is written to the disk, and event files are made of members as they are. A closed segment always gives the same event
files, keys and bytes: uploaded twice, they are there once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec
from isal import isal_zlib

from collector.batches import Group, Place

_FRAME = struct.Struct("<II")
LONGEST = 1 << 30
"""No record is longer, whatever body it was made of: a frame that says so is damage, and is not allocated."""
_SHORTEST = len(b"[]\n")
_GZIP = 31
_LEVEL = 1
# Members of less text pack badly: where few events come at once, they are packed anew, together.
_ENOUGH_TEXT = 1 << 15


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Events of one place in one record: how many, and the bytes of their lines, packed and unpacked, each line with its newline."""

    session: str
    node: str
    directory: str
    events: int
    packed: int
    unpacked: int

    @property
    def place(self) -> Place:
        return Place(self.session, self.node, self.directory)


_decode = msgspec.json.Decoder(list[Chunk]).decode


def record(groups: Sequence[Group]) -> bytes:
    """One record with these events."""
    members = [isal_zlib.compress(group.text, level=_LEVEL, wbits=_GZIP) for group in groups]
    chunks = [Chunk(*group.place, len(group.ids), len(member), len(group.text)) for group, member in zip(groups, members, strict=True)]
    content = b"".join([msgspec.json.encode(chunks), b"\n", *members])
    return _FRAME.pack(len(content), isal_zlib.crc32(content)) + content


def read_records(path: Path, damaged: Callable[[int], None] | None = None) -> Iterator[tuple[int, list[Chunk], memoryview]]:
    """(offset of the first member in the file, what the members are, the members) of every whole record.

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


def read_places(path: Path, damaged: Callable[[int], None] | None = None) -> dict[Place, list[tuple[int, Chunk]]]:
    """Where in the file the members of each place are: (offset, what it is)."""
    places: dict[Place, list[tuple[int, Chunk]]] = {}
    for offset, chunks, _ in read_records(path, damaged):
        at = offset
        for chunk in chunks:
            places.setdefault(chunk.place, []).append((at, chunk))
            at += chunk.packed
    return places


class _Id(msgspec.Struct):
    eventId: str = ""  # noqa: N815 - Ray's spelling


_decode_id = msgspec.json.Decoder(_Id).decode


def ids_in(path: Path) -> Iterator[str]:
    """The ids of a segment's events."""
    for _, chunks, members in read_records(path):
        at = 0
        for chunk in chunks:
            lines = isal_zlib.decompress(members[at : at + chunk.packed], wbits=_GZIP, bufsize=chunk.unpacked)
            at += chunk.packed
            for line in lines.splitlines():
                with suppress(msgspec.MsgspecError):
                    yield _decode_id(line).eventId


def event_files(
    segment: Path, resolve: Callable[[Place], Place], damaged: Callable[[int], None]
) -> Iterator[tuple[Place, str, bytes, int]]:
    """KubeRay's layout: (place, rest of the name, gzipped lines, events) of each place in it, in bounded memory.

    `resolve` gives a place its node, where the events named none; `damaged` is told the bytes of records that are not what was written.
    """
    nanoseconds = int(segment.name.partition(".")[0])
    hour = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%d-%H")
    places: dict[Place, list[tuple[int, Chunk]]] = {}
    for place, chunks in sorted(read_places(segment, damaged).items()):
        # Two of them may turn out to be the same: an object that is there would not be written again.
        places.setdefault(resolve(place), []).extend(chunks)
    with segment.open("rb") as file:
        for place, chunks in sorted(places.items()):
            yield place, f"{hour}-{nanoseconds}.jsonl.gz", _packed(file, chunks), sum(chunk.events for _, chunk in chunks)


def _packed(file: BinaryIO, chunks: Sequence[tuple[int, Chunk]]) -> bytes:
    members = (_read(file, offset, chunk.packed) for offset, chunk in chunks)
    if sum(chunk.unpacked for _, chunk in chunks) >= _ENOUGH_TEXT * len(chunks):
        # At its full size at once: a join, and a buffer that grows, would have it twice in memory.
        content = BytesIO(bytes(sum(chunk.packed for _, chunk in chunks)))
        content.writelines(members)
        return content.getvalue()
    packer = isal_zlib.compressobj(_LEVEL, wbits=_GZIP)
    packed = [packer.compress(isal_zlib.decompress(member, wbits=_GZIP)) for member in members]
    return b"".join([*packed, packer.flush()])


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
