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


def event_files(
    segment: Path, resolve: Callable[[Place], Place], damaged: Callable[[int], None]
) -> Iterator[tuple[Place, str, bytes, int]]:
    """(place, rest of the name, gzipped lines, events) of each place in it, in bounded memory.

    `resolve` gives a place its node, where the events named none; `damaged` is told the bytes of records that are not what was written.
    """
    nanoseconds = int(segment.name.partition(".")[0])
    hour = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%d-%H")
    places: dict[Place, list[tuple[int, int, int]]] = {}
    for place, ranges in sorted(read_places(segment, damaged).items()):
        # Two of them may turn out to be the same: an object that is there would not be written again.
        places.setdefault(resolve(place), []).extend(ranges)
    with segment.open("rb") as file:
        for place, ranges in sorted(places.items()):
            packer = isal_zlib.compressobj(_LEVEL, wbits=_GZIP)
            packed = []
            for offset, size, _ in ranges:
                file.seek(offset)
                packed.append(packer.compress(file.read(size)))
            packed.append(packer.flush())
            yield place, f"{hour}-{nanoseconds}.jsonl.gz", b"".join(packed), sum(events for *_, events in ranges)
