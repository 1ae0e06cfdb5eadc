"""The bytes of all snapshots: how many they are, and their budget. Least recently used goes first, never one in use or being written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shared.errors import NoRoom, SnapshotTooLarge
from shared.metrics import EVICTIONS
from shared.settings import LoadSettings
from shared.store.client import redis_errors
from shared.store.keys import Keyspace, SessionKeys, ShardKeys, session_of_member
from shared.store.protocol.script import ms, script

EVICT = script("""
-- ARGV: snapshot id, ms: one that was used since so long ago is in use -> 1 if it is gone now
local id = ARGV[1]
local used, loaded = redis.call('ZSCORE', INDEX, S .. id), redis.call('GET', LOADED)
if not used then return 1 end
if current() == id or tonumber(used) > now() - ARGV[2] then return 0 end
if loaded == id then redis.call('DEL', LOADED, STATUS) end
discard(id)
return 1
""")

SWEEP = script("""
-- Takes what has expired out of a shard's index (S is nobody's) -> how many
local gone = 0
for _, member in ipairs(redis.call('ZRANGE', INDEX, 0, -1)) do
  local session, id = string.match(member, '^(.*:)([^:]+)$')
  local gen, attempt = redis.call('GET', session .. 'claim'), redis.call('HGET', session .. 'load', 'attempt')
  if redis.call('EXISTS', session .. 'g:' .. id) == 0 and not (gen and attempt and gen .. '.' .. attempt == id) then
    redis.call('ZREM', INDEX, member)
    gone = gone + 1
  end
end
for _, member in ipairs(redis.call('HKEYS', SIZES)) do
  if not redis.call('ZSCORE', INDEX, member) then redis.call('HDEL', SIZES, member) end
end
return gone
""")


class Budget:
    """A worker's view of it. Raises StoreUnavailable."""

    def __init__(self, redis: Redis, keyspace: Keyspace, settings: LoadSettings) -> None:
        self._redis = redis
        self._keyspace = keyspace
        self._settings = settings

    def make_room(self, keys: SessionKeys, snapshot: str, size: int) -> None:
        """For `size` bytes more of a snapshot. Raises SnapshotTooLarge, or NoRoom when there is none to make."""
        budget, sizes = self._settings.snapshot_budget, self._sizes()
        if sizes.get(keys.member(snapshot), 0) + size > budget:
            raise SnapshotTooLarge(f"its snapshot needs more than the {budget} bytes of RAY_HISTORY_SNAPSHOT_BUDGET")
        excess = sum(sizes.values()) + size - budget
        if excess > 0 and self._evict(excess, sizes) > 0:
            raise NoRoom(f"RAY_HISTORY_SNAPSHOT_BUDGET ({budget} bytes) is taken by snapshots in use")

    def sweep(self, shard: ShardKeys) -> None:
        """Take out of a shard's index what has expired."""
        with redis_errors():
            gone = int(self._redis.register_script(SWEEP)([shard.base, shard.index, shard.sizes], []))
        EVICTIONS.labels("expired").inc(gone)

    def _sizes(self) -> dict[str, int]:
        """Bytes by member, over all shards: one round trip."""
        with redis_errors():
            pipe = self._redis.pipeline(transaction=False)
            for shard in self._keyspace.shards():
                pipe.hgetall(shard.sizes)
            found = cast("list[dict[bytes, bytes]]", pipe.execute())
        return {member.decode(): int(size) for sizes in found for member, size in sizes.items()}

    def _evict(self, excess: int, sizes: dict[str, int]) -> int:
        """Drop what was used longest ago until `excess` bytes are free; returns what is still missing."""
        with redis_errors():
            pipe = self._redis.pipeline(transaction=False)
            for shard in self._keyspace.shards():
                pipe.zrange(shard.index, 0, -1, withscores=True)
            found = pipe.execute()
        used: list[tuple[float, str, ShardKeys]] = []
        for shard, members in zip(self._keyspace.shards(), found, strict=True):
            used += [(at, member.decode(), shard) for member, at in members]
        for _, member, shard in sorted(used, key=lambda each: each[0]):
            if excess <= 0:
                break
            session, snapshot = session_of_member(member)
            arguments: list[Any] = [snapshot, ms(self._settings.snapshot_grace)]
            with redis_errors():
                dropped = self._redis.register_script(EVICT)([session, shard.index, shard.sizes], arguments)
            if dropped:
                EVICTIONS.labels("budget").inc()
                excess -= sizes.get(member, 0)
        return excess


@dataclass(frozen=True, slots=True)
class SnapshotUsage:
    """Of all shards together."""

    snapshots: int
    snapshot_bytes: int


async def read_snapshot_usage(redis: AsyncRedis, keyspace: Keyspace) -> SnapshotUsage:
    """One round trip. Raises StoreUnavailable."""
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for shard in keyspace.shards():
                pipe.hvals(shard.sizes)
            found = await pipe.execute()
    sizes = [int(size) for of_shard in found for size in of_shard]
    return SnapshotUsage(len(sizes), sum(sizes))
