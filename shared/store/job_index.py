"""The index of jobs in Redis: workers fill it (`JobIndex`), API processes follow its changes (`JobIndexReader`).

Nothing is lost with it: it is filled anew from the bucket. All of it expires when nobody fills it any more.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shared.jobs import SessionJobs, pack
from shared.store.client import redis_errors
from shared.store.held_lock import held_lock
from shared.store.keys import JobIndexKeys, Keyspace

_KEPT_FOR = 7 * 86_400_000
_AT_ONCE = 500

_PUT = """
-- KEYS: entries, changes; ARGV: session, entry, ms to live, 1: only in place of a former one, which ('': none) -> 1 if done
if ARGV[4] == '1' and (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[5] then return 0 end
-- Each change has a number of its own, larger than those before: microseconds on Redis' clock, also when the index is filled anew.
local t = redis.call('TIME')
local at = t[1] * 1000000 + t[2]
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if last and tonumber(last) >= at then at = tonumber(last) + 1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', at), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
"""


class Look(msgspec.Struct, array_like=True):
    """What was seen of a session when it was looked at last: a digest of the files that tell of its jobs.

    `changed`: when that was another one, or the session began; `due`: when to look again. Both in ms since the epoch.
    """

    digest: str
    changed: int
    due: int


_encode = msgspec.msgpack.Encoder().encode
_decode_look = msgspec.msgpack.Decoder(Look).decode


class JobIndex:
    """A worker's view. Sessions are named by their keys. Raises StoreUnavailable."""

    def __init__(self, redis: Redis, keyspace: Keyspace) -> None:
        self._redis = redis
        self._keys: JobIndexKeys = keyspace.job_index

    def as_lister(self, lease: float) -> AbstractContextManager[threading.Event | None]:
        """The right to list the bucket, as `held_lock` gives it."""
        return held_lock(self._redis, self._keys.lister, lease)

    def looks(self) -> dict[str, Look]:
        """Of every session in the index; one whose jobs Redis has lost, or that can't be read, counts as not looked at."""
        with redis_errors():
            looks = cast("dict[bytes, bytes]", self._redis.hgetall(self._keys.looks))
            present = set(cast("list[bytes]", self._redis.hkeys(self._keys.entries)))
        found: dict[str, Look] = {}
        for name, look in looks.items():
            with suppress(msgspec.MsgspecError):
                found |= {name.decode(): _decode_look(look)} if name in present else {}
        return found

    def sessions(self) -> list[str]:
        """Every session that is in the index."""
        with redis_errors():
            return [name.decode() for name in cast("list[bytes]", self._redis.hkeys(self._keys.entries))]

    def entry(self, session: str) -> bytes:
        """The jobs of a session as they are stored; b"" for none."""
        with redis_errors():
            return cast("bytes | None", self._redis.hget(self._keys.entries, session)) or b""

    def put(self, session: str, jobs: SessionJobs, *, former: bytes | None = None) -> bool:
        """`former`: only in place of this entry, as somebody may have learned more meanwhile. Was it written?"""
        told: list[Any] = [session, pack(jobs), _KEPT_FOR, int(former is not None), former or b""]
        with redis_errors():
            return bool(self._redis.register_script(_PUT)([self._keys.entries, self._keys.changes], told))

    def note(self, looks: Mapping[str, Look]) -> None:
        if looks:
            with redis_errors():
                self._redis.hset(self._keys.looks, mapping={name: _encode(look) for name, look in looks.items()})

    def remove(self, sessions: Iterable[str]) -> None:
        names = list(sessions)
        if names:
            with redis_errors():
                pipe = self._redis.pipeline(transaction=False)
                pipe.hdel(self._keys.entries, *names)
                pipe.hdel(self._keys.looks, *names)
                pipe.zrem(self._keys.changes, *names)
                pipe.execute()

    def end_pass(self, **said: int) -> None:
        """Say how a pass over the bucket went; all of the index is kept for some days more."""
        keys = self._keys
        with redis_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hset(keys.state, mapping=cast("Mapping[Any, Any]", said))
            for key in (keys.entries, keys.changes, keys.looks, keys.state):
                pipe.pexpire(key, _KEPT_FOR)
            pipe.execute()

    def passed(self) -> int:
        """When the last pass ended, in ms since the epoch; 0: never."""
        with redis_errors():
            return int(cast("bytes | None", self._redis.hget(self._keys.state, "passed")) or 0)


@dataclass(frozen=True, slots=True)
class Changes:
    """Entries that were written after a change that is known, the number of the last of them, and how many entries there are in all."""

    entries: dict[str, bytes]
    last: float
    count: int


class JobIndexReader:
    """An API process' view. Raises StoreUnavailable."""

    def __init__(self, redis: AsyncRedis, keyspace: Keyspace) -> None:
        self._redis = redis
        self._keys = keyspace.job_index

    async def changes(self, after: float) -> Changes:
        """All entries, if the last change is an earlier one: it was filled anew, and its Redis' clock is behind the former's."""
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zrangebyscore(self._keys.changes, f"({after:.0f}", "+inf", withscores=True)
                pipe.zcard(self._keys.changes)
                pipe.zrange(self._keys.changes, -1, -1, withscores=True)
                changed, count, newest = await pipe.execute()
        if newest and newest[0][1] < after:
            return await self.changes(0.0)
        return Changes(await self._entries([name for name, _ in changed]), max((number for _, number in changed), default=after), count)

    async def sessions(self) -> set[str]:
        """Every session that is in the index."""
        with redis_errors():
            names = await cast("Awaitable[list[bytes]]", self._redis.zrange(self._keys.changes, 0, -1))
        return {name.decode() for name in names}

    async def state(self) -> dict[str, int]:
        """How the last pass went, as `JobIndex.end_pass` was told; {} before the first one."""
        with redis_errors():
            told = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(self._keys.state))
        return {name.decode(): int(value) for name, value in told.items()}

    async def _entries(self, names: list[bytes]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            with redis_errors():
                values = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(self._keys.entries, some))
            found |= {name.decode(): value for name, value in zip(some, values, strict=True) if value is not None}
        return found
