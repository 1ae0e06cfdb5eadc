"""From numbers of rows to their JSON: fetches the blocks that hold them, all in one round trip."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from api.snapshots.fields import SnapshotFields
from shared import snapshot_format as fmt
from shared.ray.redaction import redact_rows
from shared.snapshot_format import LoadedColumn, TableIndex

_RowNumbers = NDArray[np.intp]


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


def row_texts(rows: Sequence[bytes]) -> list[bytes]:
    """Rows as texts of one or more, with BETWEEN_ROWS between."""
    return rows.texts if isinstance(rows, Rows) else list(rows)


def pieces(before: bytes, rows: Sequence[bytes], after: bytes) -> list[bytes]:
    """What makes up a JSON text: rows with commas between, and what stands around them."""
    texts = rows.texts if isinstance(rows, Rows) else [fmt.BETWEEN_ROWS.join(rows)]
    found = [fmt.BETWEEN_ROWS] * (2 * len(texts) + 1)
    found[1::2] = texts
    found[0], found[-1] = before, after
    return found


class RowReader:
    """Rows of one table, whose index the caller has."""

    def __init__(self, snapshot: SnapshotFields, index: TableIndex) -> None:
        self._snapshot = snapshot
        self._index = index
        # Columns that must be read to know where rows lie: a caller who reads columns anyway had better read these with them.
        self.needed_columns = () if index.cluster_by is None else (index.cluster_by,)

    async def read(self, selected: Sequence[tuple[int, _RowNumbers]], *, detail: bool, browser: bool = False) -> Sequence[bytes]:
        """Rows by part and row number, in the order given."""
        if not selected:
            return []
        needed: list[tuple[int, list[int], _RowNumbers]] = []
        fields: list[str] = []
        for (number, _), row_numbers in zip(selected, await self._in_blocks(selected), strict=True):
            needed.append((number, *_blocks_of(row_numbers, self._index.parts[number].blocks)))
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

    async def _in_blocks(self, selected: Sequence[tuple[int, _RowNumbers]]) -> list[_RowNumbers]:
        """From row numbers, in id order, to where the rows lie in blocks."""
        clustered = self._index.cluster_by
        numbers = [number for number, _ in selected if clustered and len(self._index.parts[number].clusters) > 1]
        fields = [fmt.column_field(self._index.name, number, clustered) for number in numbers if clustered]
        columns = dict(zip(numbers, await self._snapshot.pieces(fields, unpack_column) if fields else [], strict=True))
        return [self._clustered(number, columns[number].codes, rows) if number in columns else rows for number, rows in selected]

    def _clustered(self, number: int, codes: NDArray[np.unsignedinteger[Any]], rows: _RowNumbers) -> _RowNumbers:
        """Where rows of a part lie that is clustered by a column with these codes."""
        wanted = codes[rows]
        first = wanted[0]
        if rows.size == 1:
            # A task by its id: its rank is counted, which takes a fourth of listing its cluster.
            return np.array([np.count_nonzero(codes < first) + np.count_nonzero(codes[: rows[0]] == first)], np.intp)
        if bool((wanted == first).all()):
            # Of one cluster: what is before it, and the rank in it.
            return np.count_nonzero(codes < first) + np.flatnonzero(codes == first).searchsorted(rows)
        name = f"row_numbers:{self._index.name}:{number}"
        row_numbers = self._snapshot.cached(name)
        if row_numbers is None:
            order = np.argsort(codes, kind="stable")
            row_numbers = np.empty_like(order)
            row_numbers[order] = np.arange(order.size)
            self._snapshot.keep(name, row_numbers, int(row_numbers.nbytes))
        return cast("_RowNumbers", row_numbers[rows])

    async def _redactions(self, parts: Sequence[int]) -> dict[int, list[list[str]]]:
        """Per part of a large table, what must be replaced by what: found at load, so hiding it needs no decoding."""
        fields = [fmt.redactions_field(self._index.name, number) for number in parts]
        return dict(zip(parts, await self._snapshot.pieces(fields, _unpack_pairs, optional=True), strict=True))


def _blocks_of(row_numbers: _RowNumbers, starts: list[int]) -> tuple[list[int], _RowNumbers]:
    """The blocks that hold some rows, and each row's line in these blocks, one block after the other."""
    if row_numbers.size == 1:
        # A task by its id.
        block = bisect_right(starts, int(row_numbers[0])) - 1
        return [block], row_numbers - starts[block]
    edges = np.asarray(starts)
    of_row = np.searchsorted(edges, row_numbers, side="right") - 1
    blocks, inverse = np.unique(of_row, return_inverse=True)
    sizes = (edges[1:] - edges[:-1])[blocks]
    before = np.cumsum(sizes) - sizes
    return blocks.tolist(), before[inverse] + row_numbers - edges[of_row]


def _picked(texts: list[bytes], sizes: list[int], lines: _RowNumbers) -> list[bytes]:
    """The rows on some lines of blocks, as few texts. `sizes`: how many rows each block has."""
    first, last = int(lines[0]), int(lines[-1])
    if len(texts) == 1 and lines.size == 1:
        return [_row_at(texts[0], first)]
    if last - first != lines.size - 1 or (lines.size > 2 and not bool((np.diff(lines) == 1).all())):
        rows = [row for text in texts for row in text.split(fmt.BETWEEN_ROWS)]
        return [fmt.BETWEEN_ROWS.join(map(rows.__getitem__, lines.tolist()))]
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
    """For `SnapshotFields.pieces`: a filter column."""
    column = LoadedColumn.unpack(data)
    return column, column.size


def unpack_text(data: bytes) -> tuple[bytes, int]:
    """For `SnapshotFields`: a block, or a piece of a document."""
    text = fmt.decompress(data)
    return text, len(text)


def _unpack_pairs(data: bytes) -> tuple[list[list[str]], int]:
    pairs = msgspec.msgpack.decode(fmt.decompress(data))
    return pairs, sum(len(a) + len(b) for a, b in pairs)
