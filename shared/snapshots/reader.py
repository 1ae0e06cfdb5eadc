"""Reads one published snapshot, at the cost of what is asked: the API's side of `format.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import anyio
import msgspec
from redis.asyncio import Redis

from shared.errors import SnapshotGone
from shared.snapshots import format as fmt
from shared.snapshots.cache import BlockCache
from shared.snapshots.format import Meta
from shared.snapshots.table import TableReader
from shared.store import keys
from shared.store.client import redis_errors

# Unpacking more than this many fields at once leaves the event loop.
_INLINE_FIELDS = 4


class SnapshotReader:
    """One generation of one session. Pieces are immutable, so they are cached without checks.

    Raises SnapshotGone when the generation was evicted (`gone` tells afterwards), StoreUnavailable when Redis can't be asked.
    """

    def __init__(self, redis: Redis, session_key: str, generation: str, cache: BlockCache) -> None:
        self._redis = redis
        self._key = keys.snapshot(session_key, generation)
        self._id = (session_key, generation)
        self._cache = cache
        self.gone = False

    async def meta(self) -> Meta:
        (meta,) = await self.pieces([fmt.META], lambda data: (msgspec.msgpack.decode(data, type=Meta), 4 * len(data)))
        return cast("Meta", meta)

    async def doc(self, name: str) -> bytes | None:
        """A document's JSON text; None if the session has none of that name."""
        found = await self.pieces([fmt.doc_field(name)], _unpack_doc, optional=True)
        return cast("bytes | None", found[0])

    def table(self, name: str) -> TableReader:
        return TableReader(self, name)

    async def pieces(self, fields: Sequence[str], unpack: Callable[[bytes], tuple[Any, int]], *, optional: bool = False) -> list[Any]:
        """Unpacked fields, from the cache or in one round trip. `unpack` gives the piece and its size in bytes.

        An absent field is None if `optional`; otherwise the snapshot is gone.
        """
        session_key, generation = self._id
        found = {field: self._cache.get((session_key, generation, field)) for field in fields}
        missing = [field for field, piece in found.items() if piece is None]
        if missing:
            with redis_errors():
                values = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(self._key, missing))
                self.gone = None in values and not (optional and await self._redis.exists(self._key))
            if self.gone:
                raise SnapshotGone(f"snapshot {generation} of {session_key} is gone")
            present = [(field, value) for field, value in zip(missing, values, strict=True) if value is not None]

            def unpack_all() -> list[tuple[Any, int]]:
                return [unpack(value) for _, value in present]

            unpacked = unpack_all() if len(present) <= _INLINE_FIELDS else await anyio.to_thread.run_sync(unpack_all)
            for (field, _), (piece, size) in zip(present, unpacked, strict=True):
                self._cache.put((session_key, generation, field), piece, size)
                found[field] = piece
        return [found[field] for field in fields]

    def cached(self, name: str) -> Any | None:
        """A piece that was derived, not stored, by this process."""
        return self._cache.get((*self._id, name))

    def keep(self, name: str, piece: Any, size: int) -> None:
        self._cache.put((*self._id, name), piece, size)


def _unpack_doc(data: bytes) -> tuple[bytes, int]:
    text = fmt.decompress(data)
    return text, len(text)
