"""A closed segment as event files of KubeRay's layout. It always gives the same keys and bytes: uploaded twice, they are there once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from isal import isal_zlib

from collector.batches import Place
from collector.segments import read_places

_GZIP = 31
_LEVEL = 1


def event_files(segment: Path, key: Callable[[Place, str], str], damaged: Callable[[int], None]) -> Iterator[tuple[Place, str, bytes, int]]:
    """(place, key, gzipped lines, events) of each place in it, in bounded memory.

    `key` makes a storage key of a place and the rest of the name; `damaged` is told the bytes of records that are not what was written.
    """
    nanoseconds = int(segment.name.partition(".")[0])
    hour = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%d-%H")
    places = read_places(segment, damaged)
    with segment.open("rb") as file:
        for place, ranges in sorted(places.items()):
            packer = isal_zlib.compressobj(_LEVEL, wbits=_GZIP)
            packed = []
            for offset, size, _ in ranges:
                file.seek(offset)
                packed.append(packer.compress(file.read(size)))
            packed.append(packer.flush())
            yield place, key(place, f"{hour}-{nanoseconds}.jsonl.gz"), b"".join(packed), sum(events for *_, events in ranges)
