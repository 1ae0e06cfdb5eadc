"""Turns rendered rows into the fields of a snapshot. Pure: the caller writes them to Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from shared.ray.columns import Resource
from shared.snapshots import format as fmt
from shared.snapshots.format import PartIndex, TableIndex

# A page of one row should not unpack much more than it; a page of thousands should not be many fields. Measured on rows of tasks: with
# 256 rows in a block, one takes three times as long to unpack as with 64, for a sixth fewer bytes.
BLOCK_ROWS = 64

_BETWEEN = fmt.BETWEEN_ROWS.decode()
_encode = msgspec.json.Encoder().encode


class TablePart:
    """One part of a table: the values of its filter columns, each in id order, to which `render` adds the rows."""

    def __init__(self, table: str, number: int, columns: Mapping[str, Sequence[fmt.Scalar]], cluster_by: str | None = None) -> None:
        self._table = table
        self._number = number
        self._columns = columns
        self._cluster_by = cluster_by

    def render(
        self, ids: Sequence[str], base: Sequence[str], rest: Sequence[str], redactions: Mapping[str, str], *, keyed: bool = True
    ) -> tuple[PartIndex, dict[str, bytes]]:
        """The part's index and its fields. `rest` is what all columns add: text to put instead of the last brace of a row of `base`.

        Tables that are not keyed: the same rows with all columns.
        """
        table, number, rows = self._table, self._number, len(ids)
        fields: dict[str, bytes] = {}
        clusters: list[fmt.Scalar] = []
        tallied: dict[str, fmt.LoadedColumn] = {}
        order: Sequence[int] = range(rows)
        for name, values in self._columns.items():
            data, codes = fmt.code_column(values)
            fields[fmt.column_field(table, number, name)] = fmt.compress(fmt.pack(data))
            if keyed and name in fmt.TALLIED:
                tallied[name] = fmt.LoadedColumn(data.values, codes)
            if name == self._cluster_by:
                clusters = data.values
                order = np.argsort(codes, kind="stable").tolist()
        if keyed:
            fields[fmt.keys_field(table, number)] = fmt.compress(fmt.prefixes_of(ids))
        if redactions:
            fields[fmt.redactions_field(table, number)] = fmt.compress(fmt.pack(sorted(redactions.items())))
        starts = list(range(0, rows, BLOCK_ROWS))
        for block, start in enumerate(starts):
            places = order[start : start + BLOCK_ROWS]
            short = [base[at] for at in places]
            whole = [row[:-1] + rest[at] for row, at in zip(short, places, strict=True)] if keyed else [rest[at] for at in places]
            for detail, lines in ((False, short), (True, whole)):
                fields[fmt.block_field(table, number, block, detail=detail)] = fmt.compress(_BETWEEN.join(lines).encode())
        tally = fmt.joint_counts([tallied[name] for name in fmt.TALLIED]) if tallied else []
        return PartIndex(rows, ids[0] if rows else "", ids[-1] if rows else "", [*starts, rows], clusters, tally), fields


def small_table(resource: Resource, rows: list[dict[str, Any]]) -> tuple[TableIndex, dict[str, bytes]]:
    """A whole table in one part, from rows in the order of the live answer."""
    columns = {name: [_scalar(row.get(name)) for row in rows] for name in resource.filterable}
    base = [_encode({name: row.get(name) for name in resource.base}).decode() for row in rows]
    full = [_encode({name: row.get(name) for name in resource.all}).decode() for row in rows]
    ids = [str(row.get(resource.order_by) or "") for row in rows]
    index, fields = TablePart(resource.name, 0, columns).render(ids, base, full, {}, keyed=False)
    return TableIndex(resource.name, index.rows, keyed=False, cluster_by=None, parts=[index]), fields


def _scalar(value: Any) -> fmt.Scalar:
    return value if value is None or isinstance(value, str | int | float | bool) else _encode(value).decode()
