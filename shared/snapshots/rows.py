"""From places of rows to their JSON: fetches the blocks that hold them, all in one round trip."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import add
from typing import TYPE_CHECKING, Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.ray.redaction import redact_rows
from shared.snapshots import format as fmt
from shared.snapshots.format import LoadedColumn, TableIndex

if TYPE_CHECKING:
    from shared.snapshots.reader import SnapshotReader

_Places = NDArray[np.intp]
_Lines = list[bytes]


class SplitRows(Sequence[bytes]):
    """Rows in two pieces each, as large tables keep them: putting thousands together to copy them once more takes as long as sending."""

    def __init__(self, starts: _Lines, ends: _Lines) -> None:
        self._starts = starts
        self._ends = ends

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> _Lines: ...

    def __getitem__(self, at: int | slice) -> bytes | _Lines:
        if isinstance(at, slice):
            return list(map(add, self._starts[at], self._ends[at]))
        return self._starts[at] + self._ends[at]

    def __iter__(self) -> Iterator[bytes]:
        return map(add, self._starts, self._ends)

    def pieces(self, between: bytes) -> _Lines:
        found = [between] * (3 * len(self))
        found[0::3], found[1::3] = self._starts, self._ends
        return found[:-1]


def joined(before: bytes, rows: Sequence[bytes], after: bytes) -> bytes:
    """Rows with commas between, and what stands around them, in one go."""
    if isinstance(rows, SplitRows):
        return b"".join((before, *rows.pieces(b","), after))
    return b"".join((before, b",".join(rows), after))


class RowReader:
    """Rows of one table, whose index the caller has."""

    def __init__(self, snapshot: SnapshotReader, index: TableIndex) -> None:
        self._snapshot = snapshot
        self._index = index
        # Columns that must be read to know where rows lie: a caller who reads columns anyway had better read these with them.
        self.needed = () if index.cluster_by is None else (index.cluster_by,)

    async def read(self, chosen: Sequence[tuple[int, _Places]], *, detail: bool, browser: bool = False) -> Sequence[bytes]:
        """Rows by part and place in id order, in the order given."""
        if not chosen:
            return []
        kinds = (False, True) if self._index.keyed and detail else (detail,)
        needed: list[tuple[int, list[int], _Places]] = []
        fields: list[str] = []
        for (number, _), places in zip(chosen, await self._in_blocks(chosen), strict=True):
            needed.append((number, *_blocks_of(places, self._index.parts[number].blocks)))
            fields += [fmt.block_field(self._index.name, number, block, detail=kind) for kind in kinds for block in needed[-1][1]]
        unpack = _unpack_open_block if self._index.keyed else _unpack_block
        pieces = iter(await self._snapshot.pieces(fields, unpack))
        hidden = await self._redactions([number for number, _, _ in needed]) if browser and self._index.keyed else {}
        found: list[_Lines] = [[] for _ in kinds]
        for number, blocks_of_part, at in needed:
            for so_far in found:
                lines = _pick(list(chain.from_iterable(next(pieces) for _ in blocks_of_part)), at)
                so_far.extend(_replaced(lines, hidden[number]) if hidden.get(number) else lines)
        if len(kinds) == 2:
            return SplitRows(*found)
        if self._index.keyed:
            return [line + b"}" for line in found[0]]
        return redact_rows(found[0]) if browser else found[0]

    async def _in_blocks(self, chosen: Sequence[tuple[int, _Places]]) -> list[_Places]:
        """Places in id order to places in blocks."""
        names = [f"places:{self._index.name}:{number}" for number, _ in chosen]
        found: dict[str, Any] = {name: self._snapshot.cached(name) for name in names}
        clustered = self._index.cluster_by
        missing = [number for number, _ in chosen if clustered and len(self._index.parts[number].clusters) > 1]
        missing = [number for number in missing if found[f"places:{self._index.name}:{number}"] is None]
        if clustered and missing:
            fields = [fmt.column_field(self._index.name, number, clustered) for number in missing]
            for number, column in zip(missing, await self._snapshot.pieces(fields, unpack_column), strict=True):
                order = np.argsort(column.codes, kind="stable")
                places = np.empty_like(order)
                places[order] = np.arange(order.size)
                name = f"places:{self._index.name}:{number}"
                self._snapshot.keep(name, places, int(places.nbytes))
                found[name] = places
        return [rows if found[name] is None else found[name][rows] for name, (_, rows) in zip(names, chosen, strict=True)]

    async def _redactions(self, parts: Sequence[int]) -> dict[int, list[list[str]]]:
        """Per part of a large table, what must be replaced by what: found at load, so hiding it needs no decoding."""
        fields = [fmt.redactions_field(self._index.name, number) for number in parts]
        return dict(zip(parts, await self._snapshot.pieces(fields, _unpack_pairs, optional=True), strict=True))


def _blocks_of(places: _Places, starts: list[int]) -> tuple[list[int], _Places]:
    """The blocks that hold some places, and where each place is in the lines of these blocks, one block after the other."""
    if places.size == 1:
        # A task by its id.
        block = bisect_right(starts, int(places[0])) - 1
        return [block], places - starts[block]
    edges = np.asarray(starts)
    of_place = np.searchsorted(edges, places, side="right") - 1
    blocks, inverse = np.unique(of_place, return_inverse=True)
    sizes = (edges[1:] - edges[:-1])[blocks]
    before = np.cumsum(sizes) - sizes
    return blocks.tolist(), before[inverse] + places - edges[of_place]


def _replaced(lines: _Lines, pairs: list[list[str]]) -> _Lines:
    text = b"\n".join(lines)
    for secret, shown in pairs:
        text = text.replace(secret.encode(), shown.encode())
    return text.split(b"\n")


def _pick(lines: _Lines, at: _Places) -> _Lines:
    if at.size == 1:
        return [lines[int(at[0])]]
    if at.size and int(at[-1]) - int(at[0]) == at.size - 1 and bool((np.diff(at) == 1).all()):
        return lines[int(at[0]) : int(at[-1]) + 1]
    return list(map(lines.__getitem__, at.tolist()))


def unpack_column(data: bytes) -> tuple[LoadedColumn, int]:
    """For `SnapshotReader.pieces`: a filter column."""
    column = LoadedColumn.unpack(data)
    return column, column.size


def _unpack_block(data: bytes) -> tuple[_Lines, int]:
    text = fmt.decompress(data)
    lines = text.split(b"\n")
    return lines, _size(text, lines)


def _unpack_open_block(data: bytes) -> tuple[_Lines, int]:
    """A block of a keyed table. Rows with the base columns lose their closing brace, for those with all columns go on there."""
    text = fmt.decompress(data)
    if text.startswith(b"{"):
        text = text.removesuffix(b"}")
        lines = text.split(b"}\n")
    else:
        lines = text.split(b"\n")
    return lines, _size(text, lines)


def _size(text: bytes, lines: _Lines) -> int:
    return len(text) + 64 * len(lines)


def _unpack_pairs(data: bytes) -> tuple[list[list[str]], int]:
    pairs = msgspec.msgpack.decode(fmt.decompress(data))
    return pairs, sum(len(a) + len(b) for a, b in pairs)
