"""Fields of one published snapshot, fetched and unpacked, and what one API process keeps of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import anyio
import msgspec
from cachetools import LRUCache
from redis.asyncio import Redis

from shared import snapshot_format as fmt
from shared.errors import SnapshotDamaged, SnapshotGone
from shared.metrics import CACHE_BYTES, CACHE_READS
from shared.snapshot_format import Meta
from shared.store.client import redis_errors
from shared.store.keys import SessionKeys

# What an entry costs beside its piece and its key.
_OF_AN_ENTRY = 512
# Unpacking more pieces than this at once leaves the event loop.
_UNPACKED_HERE = 4
_THREADS = 2
_HIT, _MISS = CACHE_READS.labels("hit"), CACHE_READS.labels("miss")


class BlockCache:
    """Maps (session key, generation, field) to an unpacked piece. Used from one event loop only."""

    def __init__(self, max_bytes: int) -> None:
        self._pieces: LRUCache[tuple[str, str, str], tuple[Any, int]] = LRUCache(max_bytes, getsizeof=lambda entry: entry[1])

    def get(self, key: tuple[str, str, str]) -> Any | None:
        entry = self._pieces.get(key)
        if entry is None:
            _MISS.inc()
            return None
        _HIT.inc()
        return entry[0]

    def put(self, key: tuple[str, str, str], piece: Any, size: int) -> None:
        # Keys may be as long as the longest query string, and pieces empty.
        cost = size + sum(map(len, key)) + _OF_AN_ENTRY
        if cost <= self._pieces.maxsize:
            self._pieces[key] = (piece, cost)
            CACHE_BYTES.set(self._pieces.currsize)

    @property
    def bytes(self) -> int:
        return int(self._pieces.currsize)


class SnapshotFields:
    """The fields of one snapshot of one session. They never change, so pieces are cached without checks.

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

    async def pieces(self, fields: Sequence[str], unpack: Callable[[bytes], tuple[Any, int]], *, optional: bool = False) -> list[Any]:
        """Unpacked fields, from the cache or in one round trip. `unpack` gives the piece and its size in bytes.

        An absent field is None if `optional`; otherwise the snapshot is gone.
        """
        session, snapshot = self._id
        found = {field: self._cache.get((session, snapshot, field)) for field in fields}
        missing = [field for field, piece in found.items() if piece is None]
        if not missing:
            return [found[field] for field in fields]
        present = {field: value for field, value in zip(missing, await self.values(missing, optional), strict=True) if value is not None}
        for field, (piece, size) in zip(present, await unpacked(unpack, list(present.values())), strict=True):
            self._cache.put((session, snapshot, field), piece, size)
            found[field] = piece
        return [found[field] for field in fields]

    async def values(self, fields: list[str], optional: bool) -> list[bytes | None]:
        """Fields as they are stored, in one round trip; None for one that is absent, if it is `optional`."""
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


async def unpacked(unpack: Callable[[bytes], tuple[Any, int]], values: list[bytes]) -> list[tuple[Any, int]]:
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
    return [piece for at in sorted(shares) for piece in shares[at]]
