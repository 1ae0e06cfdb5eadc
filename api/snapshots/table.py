"""Reads rows of one table of a snapshot: filter columns decide, then only the blocks of the page are fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.snapshots.fields import SnapshotFields
from api.snapshots.filters import Filter, make_filter
from api.snapshots.rows import RowReader, unpack_column
from shared import snapshot_format as fmt
from shared.ray.columns import RESOURCES
from shared.snapshot_format import LoadedColumn, TableIndex

Mask = NDArray[np.bool_]
RowNumbers = NDArray[np.intp]
_Columns = dict[tuple[int, str], LoadedColumn]
_HASH_ID = 48
# Rows of one step of a whole list.
_STREAMED = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one answer, each as JSON, and how many there were: before the filters that are not the source's, and after all."""

    total: int
    num_filtered: int
    rows: Sequence[bytes]


class TableReader:
    """One table of one generation."""

    def __init__(self, snapshot: SnapshotFields, name: str) -> None:
        self._snapshot = snapshot
        self._name = name
        self._id = RESOURCES[name].order_by

    async def index(self) -> TableIndex:
        return (await self._snapshot.meta()).tables[self._name]

    async def select(
        self, filters: Sequence[Filter] = (), *, limit: int, detail: bool, browser: bool = False, source: Sequence[Filter] = ()
    ) -> Page:
        """The first `limit` rows, in id order, that pass `source` and `filters`. `total` counts those that pass `source`."""
        index = await self.index()
        known = _counted_by_tally(index, source, filters)
        if known and not (limit and known[1]):
            return Page(*known, [])
        rows = RowReader(self._snapshot, index)
        to_read, source = await self._parts_to_read(index, rows, source)
        selected: list[tuple[int, RowNumbers]] = []
        left, total, matched = limit, 0, 0
        names = [*_filter_columns(index, self._id, (*source, *filters)), *rows.needed_columns]
        for batch in _batches(to_read, index, limit, known):
            columns = await self._columns([number for number, _ in batch], names)
            for number, row_numbers in batch:
                before = await self._mask(index, rows, columns, number, row_numbers, source)
                after = _and(before, await self._mask(index, rows, columns, number, row_numbers, filters))
                every = index.parts[number].rows if row_numbers is None else row_numbers.size
                total += every if before is None else int(np.count_nonzero(before))
                found = every if after is None else int(np.count_nonzero(after))
                matched += found
                if wanted := min(left, found):
                    passing = np.arange(wanted) if after is None else np.flatnonzero(after)[:wanted]
                    selected.append((number, passing if row_numbers is None else row_numbers[passing]))
                    left -= wanted
            if known and not left:
                break
        return Page(*(known or (total, matched)), await rows.read(selected, detail=detail, browser=browser))

    async def stream(
        self, filters: Sequence[Filter] = (), *, detail: bool, browser: bool = False, source: Sequence[Filter] = ()
    ) -> AsyncIterator[Page]:
        """Every row that passes, in id order, some thousand at a time, whatever the table's size. Each page counts its own rows."""
        index = await self.index()
        rows = RowReader(self._snapshot, index)
        to_read, source = await self._parts_to_read(index, rows, source)
        names = [*_filter_columns(index, self._id, (*source, *filters)), *rows.needed_columns]
        for number, row_numbers in to_read:
            columns = await self._columns([number], names)
            before = await self._mask(index, rows, columns, number, row_numbers, source)
            after = _and(before, await self._mask(index, rows, columns, number, row_numbers, filters))
            every = index.parts[number].rows if row_numbers is None else row_numbers.size
            yield Page(every if before is None else int(np.count_nonzero(before)), 0, [])
            passing = np.arange(every) if after is None else np.flatnonzero(after)
            for start in range(0, passing.size, _STREAMED):
                selected = passing[start : start + _STREAMED]
                found = await rows.read(
                    [(number, selected if row_numbers is None else row_numbers[selected])], detail=detail, browser=browser
                )
                yield Page(0, selected.size, found)

    async def rows_where(self, column: str, value: str, *, detail: bool = True, limit: int = 10_000) -> list[bytes]:
        """Rows whose column equals the text."""
        page = await self.select([make_filter(RESOURCES[self._name], column, "=", value)], limit=limit, detail=detail)
        return list(page.rows)

    async def column_counts(self, names: Sequence[str], filters: Sequence[Filter] = ()) -> dict[tuple[fmt.Scalar, ...], int]:
        """How many rows hold each combination of values of some columns, in order of first appearance within parts."""
        index = await self.index()
        rows = RowReader(self._snapshot, index)
        columns = await self._columns(range(len(index.parts)), [*names, *_filter_columns(index, self._id, filters), *rows.needed_columns])
        counts: dict[tuple[fmt.Scalar, ...], int] = {}
        for number in range(len(index.parts)):
            mask = await self._mask(index, rows, columns, number, None, filters)
            of_part = fmt.joint_counts([columns[number, name] for name in names], mask)
            for combination, count in of_part:
                counts[combination] = counts.get(combination, 0) + count
        return counts

    async def _parts_to_read(
        self, index: TableIndex, rows: RowReader, source: Sequence[Filter]
    ) -> tuple[list[tuple[int, RowNumbers | None]], Sequence[Filter]]:
        """The parts to look at, and the rows in them (None: all), as far as a wanted id says so; and the filters that are left."""
        wanted = next((f for f in source if index.keyed and f.column == self._id and f.equal), None)
        if wanted is None:
            return [(number, None) for number in range(len(index.parts))], source
        text = wanted.text.lower()
        holding = [number for number, part in enumerate(index.parts) if part.first <= text <= part.last]
        found = [(number, await self._rows_with_id(index, rows, number, text)) for number in holding]
        return [(number, row_numbers) for number, row_numbers in found if row_numbers.size], [f for f in source if f is not wanted]

    async def _columns(self, parts: Iterable[int], names: Iterable[str]) -> _Columns:
        """Columns of several parts, in one round trip at most."""
        wanted = [(number, name) for name in dict.fromkeys(names) for number in parts]
        fields = [fmt.column_field(self._name, number, name) for number, name in wanted]
        return dict(zip(wanted, await self._snapshot.pieces(fields, unpack_column) if fields else [], strict=True))

    async def _mask(
        self, index: TableIndex, rows: RowReader, columns: _Columns, number: int, row_numbers: RowNumbers | None, filters: Sequence[Filter]
    ) -> Mask | None:
        """Which rows of a part, or of some rows in it, pass; None = all."""
        mask: Mask | None = None
        for condition in filters:
            if index.keyed and condition.column == self._id:
                hits = np.zeros(index.parts[number].rows, np.bool_)
                hits[await self._rows_with_id(index, rows, number, condition.text)] = True
                passes = hits if condition.equal else ~hits
                mask = _and(mask, passes if row_numbers is None else passes[row_numbers])
                continue
            column = columns[number, condition.column]
            passing = np.fromiter(map(condition.matches, column.values), np.bool_, len(column.values))
            if not passing.all():
                mask = _and(mask, passing[column.codes if row_numbers is None else column.codes[row_numbers]])
        return mask

    async def _rows_with_id(self, index: TableIndex, rows: RowReader, number: int, text: str) -> RowNumbers:
        """Numbers, in a part of a keyed table, of the rows with an id: attempts of one task."""
        wanted, part = text.lower(), index.parts[number]
        if len(wanted) != _HASH_ID or not part.first <= wanted <= part.last:
            return np.empty(0, np.intp)
        (prefixes,) = await self._snapshot.pieces([fmt.keys_field(self._name, number)], _unpack_keys)
        candidates = _rows_with_prefix(prefixes, fmt.prefix_of(wanted), in_order=not fmt.begins_with_ones(part.last))
        if not candidates.size:
            return candidates
        await self._columns([number], rows.needed_columns)
        start = f'{{"{self._id}":"{wanted}"'.encode()
        lines = await rows.read([(number, candidates)], detail=True)
        return candidates[[line.startswith(start) for line in lines]]


def _rows_with_prefix(prefixes: NDArray[np.uint64], wanted: int, *, in_order: bool) -> RowNumbers:
    """`in_order`: a part's prefixes are in the order of its ids, but for the ids that are looked up by their actor."""
    if not in_order:
        return np.flatnonzero(prefixes == wanted)
    sought = np.uint64(wanted)
    return np.arange(prefixes.searchsorted(sought, "left"), prefixes.searchsorted(sought, "right"))


def _counted_by_tally(index: TableIndex, source: Sequence[Filter], filters: Sequence[Filter]) -> tuple[int, int] | None:
    """How many rows pass `source`, and how many all, where the tally of the whole table can say it."""
    if not index.tally or any(f.column not in fmt.TALLIED for f in (*source, *filters)):
        return None
    at = {name: place for place, name in enumerate(fmt.TALLIED)}
    total = matched = 0
    for values, count in index.tally:
        if all(f.matches(values[at[f.column]]) for f in source):
            total += count
            if all(f.matches(values[at[f.column]]) for f in filters):
                matched += count
    return total, matched


def _batches(
    to_read: list[tuple[int, RowNumbers | None]], index: TableIndex, limit: int, known: tuple[int, int] | None
) -> Iterator[list[tuple[int, RowNumbers | None]]]:
    """All parts at once, unless it is known how many rows pass: then as many as the page is likely to need, and the others if it does."""
    if known is None:
        yield to_read
        return
    at, size = 0, 1 + -(-min(limit, known[1]) * len(index.parts) // known[1])
    while at < len(to_read):
        yield to_read[at : at + size]
        at, size = at + size, size * 2


def _filter_columns(index: TableIndex, id_column: str, filters: Iterable[Filter]) -> list[str]:
    """The columns that filters look at; ids of keyed tables have none."""
    return [f.column for f in filters if not (index.keyed and f.column == id_column)]


def _and(a: Mask | None, b: Mask | None) -> Mask | None:
    return b if a is None else a if b is None else a & b


def _unpack_keys(data: bytes) -> tuple[NDArray[np.uint64], int]:
    keys = np.frombuffer(fmt.decompress(data), ">u8").astype(np.uint64)
    return keys, int(keys.nbytes)
