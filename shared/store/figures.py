"""What only Redis knows, for metrics: how long the queue is and what all snapshots take."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis

from shared.store.client import redis_errors
from shared.store.keys import Keyspace
from shared.task_names import broker_prefix, loads_queue, steps_queue


@dataclass(frozen=True, slots=True)
class Figures:
    """`taken`: tasks that workers have and have not acknowledged."""

    waiting: int
    taken: int
    snapshots: int
    snapshot_bytes: int


async def read_figures(redis: Redis, keyspace: Keyspace) -> Figures:
    """One round trip. Raises StoreUnavailable."""
    broker = broker_prefix(keyspace.prefix)
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for queue in (loads_queue(keyspace), steps_queue(keyspace)):
                pipe.llen(broker + queue)
            pipe.hlen(f"{broker}unacked")
            for shard in keyspace.shards():
                pipe.hvals(shard.sizes)
            found = await pipe.execute()
    loads, steps, taken, *shards = found
    sizes = [int(size) for of_shard in shards for size in of_shard]
    return Figures(loads + steps, taken, len(sizes), sum(sizes))
