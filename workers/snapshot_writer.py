"""Turns rendered rows into the fields of a snapshot. Pure: the caller writes them to Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared import snapshot_format as fmt
from shared.ray.columns import Resource
from shared.snapshot_format import PartIndex, TableIndex

# A page of one row should not unpack much more than it; a page of thousands should not be many fields. Measured on rows of tasks: with
# 256 rows in a block, one takes three times as long to unpack as with 64, for a sixth fewer bytes.
BLOCK_ROWS = 64

_BETWEEN = fmt.BETWEEN_ROWS.decode()
_encode = msgspec.json.Encoder().encode


# A block: how many rows, and its two fields.
_Block = tuple[int, bytes, bytes]


class TablePart:
    """One part of a table: `add` its rows, in id order, then `finish` it. Rows are packed as soon as a block of their cluster is full."""

    def __init__(self, table: str, number: int) -> None:
        self._table = table
        self._number = number
        self._full: dict[fmt.Scalar, list[_Block]] = {}
        self._left: dict[fmt.Scalar, list[tuple[str, str]]] = {}

    def add(self, cluster: fmt.Scalar, base: str, whole: str) -> None:
        """One row: its value of the column that rows are clustered by, its JSON with the base columns, and with all."""
        rows = self._left.get(cluster)
        if rows is None:
            rows = self._left[cluster] = []
        rows.append((base, whole))
        if len(rows) == BLOCK_ROWS:
            self._full.setdefault(cluster, []).append(_pack(rows))
            rows.clear()

    def add_block(self, cluster: fmt.Scalar, base: bytes, whole: bytes) -> None:
        """The next BLOCK_ROWS rows of a cluster, with BETWEEN_ROWS between them."""
        self._left.setdefault(cluster, [])
        self._full.setdefault(cluster, []).append((BLOCK_ROWS, fmt.compress(base), fmt.compress(whole)))

    def finish(
        self,
        columns: Mapping[str, fmt.LoadedColumn],
        ids: Sequence[str],
        *,
        cluster_by: str | None = None,
        redactions: Mapping[str, str] | None = None,
        keyed: bool = True,
    ) -> tuple[PartIndex, dict[str, bytes]]:
        """The part's index and its fields. `columns` are its filter columns, each in id order as are the ids."""
        table, number = self._table, self._number
        clusters, starts, fields = self._laid_out()
        for name, column in columns.items():
            written = column.beginning_with(clusters) if name == cluster_by else column
            fields[fmt.column_field(table, number, name)] = written.pack()
        if keyed:
            fields[fmt.keys_field(table, number)] = fmt.compress(fmt.prefixes_of(ids))
        if redactions:
            fields[fmt.redactions_field(table, number)] = fmt.compress(fmt.pack(sorted(redactions.items())))
        tally = fmt.joint_counts([columns[name] for name in fmt.TALLIED]) if keyed else []
        first, last = (ids[0], ids[-1]) if ids else ("", "")
        return PartIndex(len(ids), first, last, starts, clusters if cluster_by else [], tally), fields

    def _laid_out(self) -> tuple[list[fmt.Scalar], list[int], dict[str, bytes]]:
        """The clusters in the order of their rows, where each block starts, and the blocks' fields.

        Clusters that filled no block come last and share blocks.
        """
        small = [cluster for cluster in self._left if cluster not in self._full]
        blocks: list[_Block] = []
        for cluster, full in self._full.items():
            blocks += full
            blocks += _packed(self._left[cluster])
        blocks += _packed([row for cluster in small for row in self._left[cluster]])
        starts, fields = [0], {}
        for number, (rows, base, whole) in enumerate(blocks):
            starts.append(starts[-1] + rows)
            fields[fmt.block_field(self._table, self._number, number, detail=False)] = base
            fields[fmt.block_field(self._table, self._number, number, detail=True)] = whole
        return [*self._full, *small], starts, fields


def _packed(rows: Sequence[tuple[str, str]]) -> list[_Block]:
    return [_pack(rows[at : at + BLOCK_ROWS]) for at in range(0, len(rows), BLOCK_ROWS)]


def _pack(rows: Sequence[tuple[str, str]]) -> _Block:
    base, whole = (fmt.compress(_BETWEEN.join(texts).encode()) for texts in zip(*rows, strict=True))
    return len(rows), base, whole


def small_table(resource: Resource, rows: list[dict[str, Any]]) -> tuple[TableIndex, dict[str, bytes]]:
    """A whole table in one part, from rows in the order of the live answer."""
    columns = {name: fmt.LoadedColumn.of([_scalar(row.get(name)) for row in rows]) for name in resource.filterable}
    ids = [str(row.get(resource.order_by) or "") for row in rows]
    part = TablePart(resource.name, 0)
    for row in rows:
        whole = row if resource.as_stored else {name: row.get(name) for name in resource.all}
        part.add(None, _encode({name: row.get(name) for name in resource.base}).decode(), _encode(whole).decode())
    index, fields = part.finish(columns, ids, keyed=False)
    return TableIndex(resource.name, index.rows, keyed=False, cluster_by=None, parts=[index]), fields


def _scalar(value: Any) -> fmt.Scalar:
    return value if value is None or isinstance(value, str | int | float | bool) else _encode(value).decode()
