"""The byte budget over all snapshots: least recently used goes first, never one that is in use or being written."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import cast

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shared.errors import NoRoom, SnapshotTooLarge
from shared.metrics import EVICTIONS
from shared.settings import LoadSettings
from shared.store import keys
from shared.store.claims import WorkerClaims
from shared.store.client import redis_errors

# Uses within this time count as one: a page of a dashboard asks a dozen routes at once.
_TOUCH_EVERY = 5.0


class Budget:
    """A worker's view of the budget. Raises StoreUnavailable."""

    def __init__(self, redis: Redis, claims: WorkerClaims, settings: LoadSettings) -> None:
        self._redis = redis
        self._claims = claims
        self._settings = settings

    def add(self, session_key: str, generation: str, size: int) -> None:
        """Count bytes before they are written, and make room for them. Raises SnapshotTooLarge, or NoRoom when there is none to make."""
        member = keys.member(session_key, generation)
        with redis_errors():
            pipe = self._redis.pipeline()
            pipe.zadd(keys.INDEX, {member: _now_ms()})
            pipe.hincrby(keys.SIZES, member, size)
            pipe.hvals(keys.SIZES)
            _, own, sizes = pipe.execute()
        budget = self._settings.snapshot_budget
        if int(own) > budget:
            self.give_back(session_key, generation, size)
            raise SnapshotTooLarge(f"its snapshot needs more than the {budget} bytes of RAY_HISTORY_SNAPSHOT_BUDGET")
        total = sum(map(int, sizes))
        if total > budget and self._evict(total - budget, member) > 0:
            self.give_back(session_key, generation, size)
            raise NoRoom(f"RAY_HISTORY_SNAPSHOT_BUDGET ({budget} bytes) is taken by snapshots in use")

    def give_back(self, session_key: str, generation: str, size: int) -> None:
        """Bytes that were counted by a step that is done again."""
        with redis_errors():
            self._redis.hincrby(keys.SIZES, keys.member(session_key, generation), -size)

    def forget(self, session_key: str, generation: str) -> None:
        """A generation is gone: take it out of the index."""
        member = keys.member(session_key, generation)
        with redis_errors():
            pipe = self._redis.pipeline()
            pipe.zrem(keys.INDEX, member)
            pipe.hdel(keys.SIZES, member)
            pipe.execute()

    def sweep(self) -> None:
        """Take out of the index what has expired."""
        self._evict(0, "")

    def _evict(self, excess: int, writing: str) -> int:
        """Drop what is least recently used until `excess` bytes are free; returns what is still missing."""
        in_use = _now_ms() - self._settings.snapshot_grace * 1000
        with redis_errors():
            members = cast("list[tuple[bytes, float]]", self._redis.zrange(keys.INDEX, 0, -1, withscores=True))
            sizes = cast("dict[bytes, bytes]", self._redis.hgetall(keys.SIZES))
            if unindexed := sizes.keys() - {raw for raw, _ in members}:
                self._redis.hdel(keys.SIZES, *unindexed)
            pipe = self._redis.pipeline(transaction=False)
            for raw, _ in members:
                session_key, generation = keys.split_member(raw.decode())
                pipe.exists(keys.snapshot(session_key, generation))
                pipe.get(keys.claim(session_key))
            found = pipe.execute()
        for (raw, used_at), there, writer in zip(members, found[::2], found[1::2], strict=True):
            session_key, generation = keys.split_member(raw.decode())
            # A claimed generation that is not there yet is about to be written.
            being_written = raw.decode() == writing or (writer is not None and writer.decode() == generation)
            if being_written or (there and (excess <= 0 or used_at > in_use)):
                continue
            if there:
                self._claims.drop(session_key, generation)
            EVICTIONS.labels("budget" if there else "expired").inc()
            self.forget(session_key, generation)
            excess -= int(sizes.get(raw, 0))
        return excess


class Uses:
    """An API process' notes of which snapshots are in use. Raises StoreUnavailable."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._noted: dict[str, float] = {}

    async def note(self, session_key: str, generation: str) -> None:
        member, now = keys.member(session_key, generation), time.monotonic()
        if now - self._noted.get(member, -_TOUCH_EVERY) < _TOUCH_EVERY:
            return
        if len(self._noted) > 10_000:
            self._noted.clear()
        self._noted[member] = now
        with redis_errors():
            await cast("Awaitable[int]", self._redis.zadd(keys.INDEX, {member: _now_ms()}, xx=True))

    async def forget(self, session_key: str, generation: str) -> None:
        member = keys.member(session_key, generation)
        with redis_errors():
            await self._redis.zrem(keys.INDEX, member)
            await self._redis.hdel(keys.SIZES, member)


def _now_ms() -> int:
    return int(time.time() * 1000)
