"""Reads one published snapshot, at the cost of what is asked: its documents and its tables."""

from __future__ import annotations

from typing import cast

import msgspec

from api.snapshots.fields import SnapshotFields, unpacked
from api.snapshots.rows import unpack_text
from api.snapshots.table import TableReader
from shared import snapshot_format as fmt

_decode_pieces = msgspec.msgpack.Decoder(list[bytes]).decode


class SnapshotReader(SnapshotFields):
    """One snapshot of one session, as routes read it."""

    async def doc(self, name: str) -> bytes | None:
        """A document's JSON text; None if the session has none of that name."""
        pieces = await self.doc_pieces(name)
        return b"".join(pieces) if pieces else None

    async def doc_pieces(self, name: str) -> list[bytes]:
        """The same in pieces, as documents may be large; none for none."""
        field = fmt.doc_field(name)
        known = self.cached(field)
        if known is None:
            (value,) = await self.values([field], optional=True)
            if value is None:
                return []
            texts = await unpacked(unpack_text, _decode_pieces(value))
            known = [text for text, _ in texts]
            self.keep(field, known, sum(size for _, size in texts))
        return cast("list[bytes]", known)

    def table(self, name: str) -> TableReader:
        return TableReader(self, name)
