"""Reads one published snapshot, at the cost of what is asked: the API's side of `format.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import anyio
import msgspec
from redis.asyncio import Redis

from shared.errors import SnapshotDamaged, SnapshotGone
from shared.snapshots import format as fmt
from shared.snapshots.cache import BlockCache
from shared.snapshots.format import Meta
from shared.snapshots.rows import unpack_text
from shared.snapshots.table import TableReader
from shared.store.client import redis_errors
from shared.store.keys import SessionKeys

# Unpacking more pieces than this at once leaves the event loop.
_UNPACKED_HERE = 4
_THREADS = 2
_decode_pieces = msgspec.msgpack.Decoder(list[bytes]).decode


class SnapshotReader:
    """One snapshot of one session. Pieces are immutable, so they are cached without checks.

    Raises SnapshotGone when it was evicted, SnapshotDamaged when it lacks a part, StoreUnavailable when Redis can't be asked.
    """

    def __init__(self, redis: Redis, keys: SessionKeys, snapshot: str, cache: BlockCache) -> None:
        self._redis = redis
        self._key = keys.snapshot(snapshot)
        self._id = (keys.session, snapshot)
        self._cache = cache

    async def meta(self) -> Meta:
        (meta,) = await self.pieces([fmt.META], lambda data: (msgspec.msgpack.decode(data, type=Meta), 4 * len(data)))
        return cast("Meta", meta)

    async def doc(self, name: str) -> bytes | None:
        """A document's JSON text; None if the session has none of that name."""
        pieces = await self.doc_pieces(name)
        return b"".join(pieces) if pieces else None

    async def doc_pieces(self, name: str) -> list[bytes]:
        """The same in pieces, as documents may be large; none for none."""
        field = fmt.doc_field(name)
        known = self.cached(field)
        if known is None:
            (value,) = await self._values([field], optional=True)
            if value is None:
                return []
            unpacked = await _unpacked(unpack_text, _decode_pieces(value))
            known = [text for text, _ in unpacked]
            self.keep(field, known, sum(size for _, size in unpacked))
        return cast("list[bytes]", known)

    def table(self, name: str) -> TableReader:
        return TableReader(self, name)

    async def pieces(self, fields: Sequence[str], unpack: Callable[[bytes], tuple[Any, int]], *, optional: bool = False) -> list[Any]:
        """Unpacked fields, from the cache or in one round trip. `unpack` gives the piece and its size in bytes.

        An absent field is None if `optional`; otherwise the snapshot is gone.
        """
        session, snapshot = self._id
        found = {field: self._cache.get((session, snapshot, field)) for field in fields}
        missing = [field for field, piece in found.items() if piece is None]
        if not missing:
            return [found[field] for field in fields]
        present = {field: value for field, value in zip(missing, await self._values(missing, optional), strict=True) if value is not None}
        for field, (piece, size) in zip(present, await _unpacked(unpack, list(present.values())), strict=True):
            self._cache.put((session, snapshot, field), piece, size)
            found[field] = piece
        return [found[field] for field in fields]

    async def _values(self, fields: list[str], optional: bool) -> list[bytes | None]:
        with redis_errors():
            values = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(self._key, fields))
            if None in values and not await self._redis.exists(self._key):
                raise SnapshotGone(f"snapshot {self._id[1]} of {self._id[0]} is gone")
        if None in values and not optional:
            missing = fields[values.index(None)]
            raise SnapshotDamaged(f"snapshot {self._id[1]} of {self._id[0]} has no {missing}")
        return values

    def cached(self, name: str) -> Any | None:
        """What this process has made of stored fields, by a name of the caller's."""
        return self._cache.get((*self._id, name))

    def keep(self, name: str, piece: Any, size: int) -> None:
        self._cache.put((*self._id, name), piece, size)


async def _unpacked(unpack: Callable[[bytes], tuple[Any, int]], values: list[bytes]) -> list[tuple[Any, int]]:
    """All unpacked; many of them off the event loop. zstd works outside the interpreter's lock: two threads are faster than one."""
    if len(values) <= _UNPACKED_HERE:
        return list(map(unpack, values))
    share = -(-len(values) // _THREADS)
    shares: dict[int, list[tuple[Any, int]]] = {}

    async def of(at: int) -> None:
        shares[at] = await anyio.to_thread.run_sync(lambda: list(map(unpack, values[at : at + share])))

    async with anyio.create_task_group() as group:
        for at in range(0, len(values), share):
            group.start_soon(of, at)
    return [unpacked for at in sorted(shares) for unpacked in shares[at]]
