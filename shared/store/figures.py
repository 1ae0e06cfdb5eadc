"""What only Redis knows, for metrics: what all snapshots take."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis

from shared.store.client import redis_errors
from shared.store.keys import Keyspace


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all shards together."""

    snapshots: int
    snapshot_bytes: int


async def read_figures(redis: Redis, keyspace: Keyspace) -> Figures:
    """One round trip. Raises StoreUnavailable."""
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for shard in keyspace.shards():
                pipe.hvals(shard.sizes)
            found = await pipe.execute()
    sizes = [int(size) for of_shard in found for size in of_shard]
    return Figures(len(sizes), sum(sizes))
