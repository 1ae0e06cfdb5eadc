"""What only Redis knows, for metrics: how long the queue is and what all snapshots take."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis

from shared.store import keys
from shared.store.client import redis_errors
from shared.task_names import BROKER_PREFIX, QUEUES


@dataclass(frozen=True, slots=True)
class Figures:
    """`taken`: tasks that workers have and have not acknowledged."""

    waiting: int
    taken: int
    snapshots: int
    snapshot_bytes: int


async def read_figures(redis: Redis) -> Figures:
    """One round trip. Raises StoreUnavailable."""
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for queue in QUEUES:
                pipe.llen(BROKER_PREFIX + queue)
            pipe.hlen(f"{BROKER_PREFIX}unacked")
            pipe.zcard(keys.INDEX)
            pipe.hvals(keys.SIZES)
            *waiting, taken, snapshots, sizes = await pipe.execute()
    return Figures(sum(waiting), taken, snapshots, sum(map(int, sizes)))
