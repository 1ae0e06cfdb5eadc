"""Turns rendered rows into the fields of a snapshot. Pure: the caller writes them to Redis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from shared.ray.columns import Resource
from shared.snapshots import format as fmt
from shared.snapshots.format import ColumnBuilder, PartIndex, TableIndex

# A page of one row should not unpack much more than it; a page of thousands should not be many fields.
BLOCK_ROWS = 256

_encode = msgspec.json.Encoder().encode


class TablePart:
    """Collects the rows of one part, which must come in id order, and renders its fields.

    `columns` are the filter columns that `add` gets values for, in that order.
    """

    def __init__(self, table: str, number: int, columns: Sequence[str], *, cluster_by: str | None = None, keyed: bool = False) -> None:
        self.table = table
        self.number = number
        self.cluster_by = cluster_by
        self.keyed = keyed
        self.ids: list[str] = []
        self.base: list[bytes] = []
        self.full: list[bytes] = []
        self.columns = {name: ColumnBuilder() for name in columns}
        self.redactions: dict[str, str] = {}
        self._add_value = [builder.add for builder in self.columns.values()]

    def add(self, row_id: str, base: bytes, full: bytes, values: Iterable[fmt.Scalar]) -> None:
        self.ids.append(row_id)
        self.base.append(base)
        self.full.append(full)
        for add, value in zip(self._add_value, values, strict=True):
            add(value)

    def render(self) -> tuple[PartIndex, dict[str, bytes]]:
        """The part's index and its fields. The rows are released."""
        rows = len(self.ids)
        fields: dict[str, bytes] = {}
        clusters: list[fmt.Scalar] = []
        order = range(rows)
        for name, builder in self.columns.items():
            data = builder.data()
            fields[fmt.column_field(self.table, self.number, name)] = fmt.compress(fmt.pack(data))
            if name == self.cluster_by:
                clusters = data.values
                order = np.argsort(np.asarray(builder.codes, np.uint32), kind="stable").tolist()
        if self.keyed:
            prefixes = b"".join([fmt.prefix_of(row_id) for row_id in self.ids])
            fields[fmt.keys_field(self.table, self.number)] = fmt.compress(prefixes)
        if self.redactions:
            fields[fmt.redactions_field(self.table, self.number)] = fmt.compress(fmt.pack(sorted(self.redactions.items())))
        starts = list(range(0, rows, BLOCK_ROWS))
        for block, start in enumerate(starts):
            places = order[start : start + BLOCK_ROWS]
            for detail, lines in ((False, self.base), (True, self.full)):
                field = fmt.block_field(self.table, self.number, block, detail=detail)
                fields[field] = fmt.compress(b"\n".join([lines[i] for i in places]))
        index = PartIndex(rows, self.ids[0] if rows else "", self.ids[-1] if rows else "", [*starts, rows], clusters)
        self.ids, self.base, self.full = [], [], []
        return index, fields


def small_table(resource: Resource, rows: list[dict[str, Any]]) -> tuple[TableIndex, dict[str, bytes]]:
    """A whole table in one part, from rows in the order of the live answer."""
    names = list(resource.filterable)
    part = TablePart(resource.name, 0, names)
    for row in rows:
        full = {name: row.get(name) for name in resource.all}
        base = {name: row.get(name) for name in resource.base}
        part.add(str(row.get(resource.order_by) or ""), _encode(base), _encode(full), [_scalar(row.get(name)) for name in names])
    index, fields = part.render()
    return TableIndex(resource.name, index.rows, keyed=False, cluster_by=None, parts=[index]), fields


def _scalar(value: Any) -> fmt.Scalar:
    return value if value is None or isinstance(value, str | int | float | bool) else _encode(value).decode()
