"""A closed segment as event files of KubeRay's layout. It always gives the same keys and bytes: uploaded twice, they are there once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib

from collector.batches import Place
from collector.segments import GZIP, LEVEL, Chunk, read_places

# Members of less text pack badly: where few events come at once, they are packed anew, together.
_ENOUGH_TEXT = 1 << 15


def event_files(
    segment: Path, resolve: Callable[[Place], Place], damaged: Callable[[int], None]
) -> Iterator[tuple[Place, str, bytes, int]]:
    """(place, rest of the name, gzipped lines, events) of each place in it, in bounded memory.

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
        return b"".join(members)
    packer = isal_zlib.compressobj(LEVEL, wbits=GZIP)
    packed = [packer.compress(isal_zlib.decompress(member, wbits=GZIP)) for member in members]
    return b"".join([*packed, packer.flush()])


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
