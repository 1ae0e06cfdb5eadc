"""Reads rows of one table of a snapshot: filter columns decide, then only the blocks of the page are fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.ray.columns import RESOURCES
from shared.ray.redaction import redact_rows
from shared.snapshots import format as fmt
from shared.snapshots.filters import Filter, make_filter
from shared.snapshots.format import LoadedColumn, PartIndex, TableIndex

if TYPE_CHECKING:
    from shared.snapshots.reader import SnapshotReader

Mask = NDArray[np.bool_]
_HASH_ID = 48


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one answer, each as JSON, and how many there were: before the filters that are not the source's, and after all."""

    total: int
    num_filtered: int
    rows: list[bytes]


class TableReader:
    """One table of one generation."""

    def __init__(self, snapshot: SnapshotReader, name: str) -> None:
        self._snapshot = snapshot
        self._name = name

    async def index(self) -> TableIndex:
        return (await self._snapshot.meta()).tables[self._name]

    async def select(
        self, filters: Sequence[Filter] = (), *, limit: int, detail: bool, browser: bool = False, source: Sequence[Filter] = ()
    ) -> Page:
        """The first `limit` rows, in id order, that pass `source` and `filters`. `total` counts those that pass `source`."""
        index = await self.index()
        total = matched = 0
        chosen: list[tuple[int, NDArray[np.intp]]] = []
        for number, part in enumerate(index.parts):
            before = await self._mask(index, number, part, source)
            after = before if not filters else _both(before, await self._mask(index, number, part, filters))
            total += part.rows if before is None else int(before.sum())
            found = part.rows if after is None else int(after.sum())
            wanted = min(limit - min(matched, limit), found)
            if wanted:
                rows = np.arange(wanted) if after is None else np.flatnonzero(after)[:wanted]
                chosen.append((number, rows))
            matched += found
        return Page(total, matched, await self._rows(index, chosen, detail=detail, browser=browser))

    async def rows_where(self, column: str, value: str, *, detail: bool = True, limit: int = 10_000) -> list[bytes]:
        """Rows whose column equals the text."""
        page = await self.select([make_filter(RESOURCES[self._name], column, "=", value)], limit=limit, detail=detail)
        return page.rows

    async def column_counts(self, names: Sequence[str], filters: Sequence[Filter] = ()) -> dict[tuple[fmt.Scalar, ...], int]:
        """How many rows hold each combination of values of some columns, in order of first appearance within parts."""
        index = await self.index()
        counts: dict[tuple[fmt.Scalar, ...], int] = {}
        for number, part in enumerate(index.parts):
            mask = await self._mask(index, number, part, filters)
            columns = await self._columns(number, names)
            joint = np.zeros(part.rows, np.int64)
            for column in columns:
                joint = joint * len(column.values) + column.codes
            combos, first, tally = np.unique(joint if mask is None else joint[mask], return_index=True, return_counts=True)
            for at in np.argsort(first):
                code, key = int(combos[at]), []
                for column in reversed(columns):
                    code, digit = divmod(code, len(column.values))
                    key.append(column.values[digit])
                combo = tuple(reversed(key))
                counts[combo] = counts.get(combo, 0) + int(tally[at])
        return counts

    async def _columns(self, number: int, names: Iterable[str]) -> list[LoadedColumn]:
        fields = [fmt.column_field(self._name, number, name) for name in names]
        return await self._snapshot.pieces(fields, _unpack_column)

    async def _mask(self, index: TableIndex, number: int, part: PartIndex, filters: Sequence[Filter]) -> Mask | None:
        """Which rows of a part pass; None = all."""
        mask: Mask | None = None
        coded = [f for f in filters if not (index.keyed and f.column == RESOURCES[self._name].order_by)]
        for condition, column in zip(coded, await self._columns(number, [f.column for f in coded]) if coded else [], strict=True):
            passing = np.fromiter((condition.matches(value) for value in column.values), np.bool_, len(column.values))
            if not passing.all():
                mask = _both(mask, passing[column.codes])
        for condition in filters:
            if condition not in coded:
                mask = _both(mask, await self._id_mask(index, number, part, condition))
        return mask

    async def _id_mask(self, index: TableIndex, number: int, part: PartIndex, condition: Filter) -> Mask:
        wanted = condition.text.lower()
        hits = np.zeros(part.rows, np.bool_)
        if len(wanted) == _HASH_ID and part.first <= wanted <= part.last:
            (prefixes,) = await self._snapshot.pieces([fmt.keys_field(self._name, number)], _unpack_keys)
            candidates = np.flatnonzero(prefixes == fmt.prefix_of(wanted))
            rows = await self._rows(index, [(number, candidates)], detail=False, browser=False) if candidates.size else []
            start = f'{{"{RESOURCES[self._name].order_by}":"{wanted}"'.encode()
            hits[[int(i) for i, row in zip(candidates, rows, strict=True) if row.startswith(start)]] = True
        return hits if condition.equal else ~hits

    async def _places(self, index: TableIndex, number: int, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Where rows (in id order) lie in the part's blocks."""
        if index.cluster_by is None or len(index.parts[number].clusters) <= 1:
            return rows
        name = f"places:{self._name}:{number}"
        places = self._snapshot.cached(name)
        if places is None:
            (cluster,) = await self._columns(number, [index.cluster_by])
            order = np.argsort(cluster.codes, kind="stable")
            places = np.empty_like(order)
            places[order] = np.arange(order.size)
            self._snapshot.keep(name, places, int(places.nbytes))
        return places[rows]

    async def _rows(self, index: TableIndex, chosen: list[tuple[int, NDArray[np.intp]]], *, detail: bool, browser: bool) -> list[bytes]:
        """Rows by part and place in id order; all their blocks come in one round trip."""
        split = index.keyed and detail
        found: list[tuple[int, list[int], list[int]]] = []
        fields: dict[tuple[int, int, bool], str] = {}
        for number, rows in chosen:
            places = await self._places(index, number, rows)
            starts = np.asarray(index.parts[number].blocks)
            blocks = np.searchsorted(starts, places, side="right") - 1
            found.append((number, blocks.tolist(), (places - starts[blocks]).tolist()))
            for block in dict.fromkeys(found[-1][1]):
                for kind in (False, True) if split else (detail,):
                    fields[number, block, kind] = fmt.block_field(self._name, number, block, detail=kind)
        lines = dict(zip(fields, await self._snapshot.pieces(list(fields.values()), _unpack_block), strict=True))
        result: list[bytes] = []
        for number, blocks_of_rows, offsets in found:
            if split:
                part = [
                    fmt.full_row(lines[number, block, False][at], lines[number, block, True][at])
                    for block, at in zip(blocks_of_rows, offsets, strict=True)
                ]
            else:
                part = [lines[number, block, detail][at] for block, at in zip(blocks_of_rows, offsets, strict=True)]
            if browser:
                part = await self._redacted(number, part) if index.keyed else redact_rows(part)
            result += part
        return result

    async def _redacted(self, number: int, rows: list[bytes]) -> list[bytes]:
        """Rows of a large table: what must be hidden was found at load, so replacing it needs no decoding."""
        (pairs,) = await self._snapshot.pieces([fmt.redactions_field(self._name, number)], _unpack_pairs, optional=True)
        if not pairs:
            return rows
        text = b"\n".join(rows)
        for secret, shown in pairs:
            text = text.replace(secret.encode(), shown.encode())
        return text.split(b"\n")


def _both(a: Mask | None, b: Mask | None) -> Mask | None:
    return b if a is None else a if b is None else a & b


def _unpack_column(data: bytes) -> tuple[LoadedColumn, int]:
    column = LoadedColumn.unpack(data)
    return column, column.size


def _unpack_block(data: bytes) -> tuple[list[bytes], int]:
    text = fmt.decompress(data)
    lines = text.split(b"\n")
    return lines, len(text) + 64 * len(lines)


def _unpack_keys(data: bytes) -> tuple[NDArray[np.uint64], int]:
    keys = np.frombuffer(fmt.decompress(data), ">u8").astype(np.uint64)
    return keys, int(keys.nbytes)


def _unpack_pairs(data: bytes) -> tuple[list[list[Any]], int]:
    pairs = msgspec.msgpack.decode(fmt.decompress(data))
    return pairs, sum(len(a) + len(b) for a, b in pairs)
