"""From places of rows to their JSON: fetches the blocks that hold them, all in one round trip."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.ray.redaction import redact_rows
from shared.snapshots import format as fmt
from shared.snapshots.format import LoadedColumn, TableIndex

if TYPE_CHECKING:
    from shared.snapshots.reader import SnapshotReader

_Places = NDArray[np.intp]


class Rows(Sequence[bytes]):
    """Rows in texts of one or more each: whole blocks stay uncut, as cutting thousands of rows takes longer than sending them."""

    def __init__(self, texts: list[bytes]) -> None:
        self.texts = texts

    @cached_property
    def _cut(self) -> list[bytes]:
        return [row for text in self.texts for row in text.split(fmt.BETWEEN_ROWS)]

    def __len__(self) -> int:
        return len(self._cut)

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        return self._cut[at]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._cut)


def pieces(before: bytes, rows: Sequence[bytes], after: bytes) -> list[bytes]:
    """What makes up a JSON text: rows with commas between, and what stands around them."""
    texts = rows.texts if isinstance(rows, Rows) else [fmt.BETWEEN_ROWS.join(rows)]
    found = [fmt.BETWEEN_ROWS] * (2 * len(texts) + 1)
    found[1::2] = texts
    found[0], found[-1] = before, after
    return found


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
        needed: list[tuple[int, list[int], _Places]] = []
        fields: list[str] = []
        for (number, _), places in zip(chosen, await self._in_blocks(chosen), strict=True):
            needed.append((number, *_blocks_of(places, self._index.parts[number].blocks)))
            fields += [fmt.block_field(self._index.name, number, block, detail=detail) for block in needed[-1][1]]
        blocks = iter(await self._snapshot.pieces(fields, unpack_text))
        hidden = await self._redactions([number for number, _, _ in needed]) if browser and self._index.keyed else {}
        texts: list[bytes] = []
        for number, blocks_of_part, at in needed:
            starts = self._index.parts[number].blocks
            sizes = [starts[block + 1] - starts[block] for block in blocks_of_part]
            of_part = _picked([next(blocks) for _ in blocks_of_part], sizes, at)
            for secret, shown in hidden.get(number) or ():
                of_part = [text.replace(secret.encode(), shown.encode()) for text in of_part]
            texts += of_part
        rows = Rows(texts)
        return redact_rows(list(rows)) if browser and not self._index.keyed else rows

    async def _in_blocks(self, chosen: Sequence[tuple[int, _Places]]) -> list[_Places]:
        """Places in id order to places in blocks."""
        clustered = self._index.cluster_by
        numbers = [number for number, _ in chosen if clustered and len(self._index.parts[number].clusters) > 1]
        fields = [fmt.column_field(self._index.name, number, clustered) for number in numbers if clustered]
        columns = dict(zip(numbers, await self._snapshot.pieces(fields, unpack_column) if fields else [], strict=True))
        return [self._clustered(number, columns[number].codes, rows) if number in columns else rows for number, rows in chosen]

    def _clustered(self, number: int, codes: NDArray[np.unsignedinteger[Any]], rows: _Places) -> _Places:
        """Where rows of a part lie that is clustered by a column with these codes."""
        wanted = codes[rows]
        first = wanted[0]
        if bool((wanted == first).all()):
            # Of one cluster: what is before it, and the rank in it.
            return np.count_nonzero(codes < first) + np.flatnonzero(codes == first).searchsorted(rows)
        name = f"places:{self._index.name}:{number}"
        places = self._snapshot.cached(name)
        if places is None:
            order = np.argsort(codes, kind="stable")
            places = np.empty_like(order)
            places[order] = np.arange(order.size)
            self._snapshot.keep(name, places, int(places.nbytes))
        return cast("_Places", places[rows])

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


def _picked(texts: list[bytes], sizes: list[int], at: _Places) -> list[bytes]:
    """The rows at some places of blocks, as few texts. `sizes`: how many rows each block has."""
    first, last = int(at[0]), int(at[-1])
    if len(texts) == 1 and at.size == 1:
        return [_row_at(texts[0], first)]
    if last - first != at.size - 1 or (at.size > 2 and not bool((np.diff(at) == 1).all())):
        rows = [row for text in texts for row in text.split(fmt.BETWEEN_ROWS)]
        return [fmt.BETWEEN_ROWS.join(map(rows.__getitem__, at.tolist()))]
    found = []
    begin = 0
    for text, size in zip(texts, sizes, strict=True):
        if first <= begin and begin + size <= last + 1:
            found.append(text)
        else:
            rows = text.split(fmt.BETWEEN_ROWS)[max(0, first - begin) : last + 1 - begin]
            found.append(fmt.BETWEEN_ROWS.join(rows))
        begin += size
    return found


def _row_at(text: bytes, place: int) -> bytes:
    """One row: the others need not be cut for it. One character is found much faster than two."""
    begin = 0
    for _ in range(place):
        begin = text.index(b"\n", begin) + 1
    end = text.find(b"\n", begin)
    return text[begin:] if end < 0 else text[begin : end - 1]


def unpack_column(data: bytes) -> tuple[LoadedColumn, int]:
    """For `SnapshotReader.pieces`: a filter column."""
    column = LoadedColumn.unpack(data)
    return column, column.size


def unpack_text(data: bytes) -> tuple[bytes, int]:
    """For `SnapshotReader`: a block, or a piece of a document."""
    text = fmt.decompress(data)
    return text, len(text)


def _unpack_pairs(data: bytes) -> tuple[list[list[str]], int]:
    pairs = msgspec.msgpack.decode(fmt.decompress(data))
    return pairs, sum(len(a) + len(b) for a, b in pairs)
