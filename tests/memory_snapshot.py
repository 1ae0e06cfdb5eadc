"""A snapshot without Redis: the real tables over a dictionary, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from api.snapshots.reader import SnapshotReader
from api.snapshots.table import TableReader
from shared import snapshot_format as fmt
from shared.ray.columns import RESOURCES
from shared.snapshot_format import Meta, TableIndex
from workers.snapshot_writer import small_table


class MemorySnapshot:
    """Has the interface of `SnapshotReader`. Rows are dicts with any of their table's columns."""

    def __init__(
        self, tables: dict[str, list[dict[str, Any]]], docs: dict[str, bytes] | None = None, *, ray_version: str | None = None
    ) -> None:
        self._ray_version = ray_version
        self._docs = docs or {}
        self._kept: dict[str, Any] = {}
        self._fields: dict[str, bytes] = {}
        self._tables: dict[str, TableIndex] = {}
        for name, rows in tables.items():
            self._tables[name], fields = small_table(RESOURCES[name], rows)
            self._fields |= fields

    async def meta(self) -> Meta:
        return Meta(fmt.FORMAT, self._tables, ray_version=self._ray_version)

    async def doc(self, name: str) -> bytes | None:
        return self._docs.get(name)

    async def doc_pieces(self, name: str) -> list[bytes]:
        return [self._docs[name]] if name in self._docs else []

    def table(self, name: str) -> TableReader:
        return TableReader(cast("SnapshotReader", self), name)

    async def pieces(self, fields: Sequence[str], unpack: Callable[[bytes], tuple[Any, int]], *, optional: bool = False) -> list[Any]:
        return [unpack(self._fields[field])[0] if field in self._fields or not optional else None for field in fields]

    def cached(self, name: str) -> Any | None:
        return self._kept.get(name)

    def keep(self, name: str, piece: Any, size: int) -> None:
        self._kept[name] = piece
