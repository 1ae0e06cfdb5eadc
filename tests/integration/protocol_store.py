"""Both sides of the load protocol on one database, and a look behind it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from redis import Redis

from shared.sessions import Session
from shared.settings import LoadSettings, RedisSettings
from shared.store.client import open_async_redis, open_redis
from shared.store.keys import Keyspace, SessionKeys
from shared.store.load_status import read_status
from shared.store.protocol.budget import SWEEP, Budget
from shared.store.protocol.visits import Entry, Visits
from tests.servers import RedisServer
from workers.load_run import LoadRun

SESSION = Session("ns", "cluster", "session_2026-01-01_00-00-00_000000_1")
SESSIONS = [SESSION, Session("ns", "other", SESSION.session)]
_T = TypeVar("_T")
# Says how much it found to do, which is less the second time.
_SWEEP = hashlib.sha1(SWEEP.encode()).hexdigest()


class Store:
    """`said_twice`: every script is sent twice, as the client does when a reply is lost, and must answer the same."""

    def __init__(self, server: RedisServer, *, said_twice: bool = False, **load: Any) -> None:
        self.settings = LoadSettings(**load)
        redis = RedisSettings(redis_url=server.url(15))
        self.keyspace = Keyspace()
        self.loop = asyncio.new_event_loop()
        self.redis: Redis = open_redis(redis)
        self.asynchronous = open_async_redis(redis)
        self.redis.flushdb()
        self.visits = Visits(self.asynchronous, self.keyspace, self.settings)
        self.budget = Budget(self.redis, self.keyspace, self.settings)
        if said_twice:
            self._say_twice()

    def _say_twice(self) -> None:
        once, once_async = self.redis.execute_command, self.asynchronous.execute_command

        def twice(*words: Any, **options: Any) -> Any:
            answer = once(*words, **options)
            if words[0] == "EVALSHA" and words[1] != _SWEEP:
                assert once(*words, **options) == answer, words
            return answer

        async def twice_async(*words: Any, **options: Any) -> Any:
            answer = await once_async(*words, **options)
            if words[0] == "EVALSHA":
                again = await once_async(*words, **options)
                assert _without_time(again) == _without_time(answer), words
            return answer

        self.redis.execute_command = twice  # type: ignore[method-assign]
        self.asynchronous.execute_command = twice_async  # type: ignore[method-assign]

    def wait(self, call: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(call)

    def keys(self, session: Session = SESSION) -> SessionKeys:
        return self.keyspace.session(session.key)

    def visit(self, session: Session = SESSION, *, force: bool = False) -> Entry:
        return self.wait(self.visits.claim(session.key, force=force))

    def record(self, session: Session = SESSION) -> dict[str, Any]:
        return self.wait(read_status(self.asynchronous, self.keys(session), session, self.settings.lease)).record

    def run(self, generation: str, session: Session = SESSION) -> LoadRun:
        return LoadRun(session, generation, self.redis, self.keyspace, self.settings)

    def begun(self, generation: str, session: Session = SESSION, *, redelivered: bool = False) -> LoadRun:
        run = self.run(generation, session)
        assert run.begin(redelivered=redelivered)[0] == "begun"
        return run

    def load(self, session: Session = SESSION, **fields: bytes) -> LoadRun:
        """A whole load."""
        run = self.begun(self.visit(session, force=True).enqueue, session)
        run.put({"meta": b"x", **fields})
        run.publish_snapshot()
        return run

    def loaded(self, session: Session = SESSION) -> str:
        return (self.redis.get(self.keys(session).loaded) or b"").decode()

    def current(self, session: Session = SESSION) -> str | None:
        """What may be written now."""
        claim = self.redis.get(self.keys(session).claim)
        generation, attempt = self.redis.hmget(self.keys(session).load, "generation", "attempt")
        return f"{claim.decode()}.{attempt.decode()}" if claim and claim == generation else None

    def planned(self, run: LoadRun) -> bool:
        return bool(self.redis.hexists(self.keys(run.session).work(run.snapshot), "phases"))

    def exists(self, session: Session, snapshot: str) -> bool:
        return bool(self.redis.exists(self.keys(session).snapshot(snapshot)))

    def fields(self, session: Session, snapshot: str) -> dict[bytes, bytes]:
        return self.redis.hgetall(self.keys(session).snapshot(snapshot))

    def workers_lost(self, session: Session = SESSION) -> None:
        """As after a lease without any of them."""
        keys = self.keys(session)
        if self.redis.exists(keys.load):
            self.redis.hset(keys.load, "beat", 1)
        for name in self.redis.keys(f"{keys.session}w:*"):
            for field, row in self.redis.hgetall(name).items():
                if field.startswith(b"step:") and row != b"done":
                    token, _, tries, message = row.split(b" ")
                    self.redis.hset(name, field, b" ".join([token, b"1", tries, message]))

    def expire_claim(self, session: Session = SESSION) -> None:
        self.redis.delete(self.keys(session).claim, self.keys(session).load)

    def lose_snapshot(self, session: Session, how: str) -> None:
        loaded = self.loaded(session)
        if how == "drop":
            self.wait(self.visits.drop(session.key))
        elif how == "hole" and loaded:
            self.wait(self.visits.report_hole(session.key, loaded))
        elif how == "evict":
            self.budget._evict(10**9, {})
        elif how == "expire" and loaded:
            self.redis.delete(self.keys(session).snapshot(loaded))
            for shard in self.keyspace.shards():
                self.budget.sweep(shard)

    def close(self) -> None:
        self.redis.flushdb()
        self.wait(self.asynchronous.aclose())
        self.loop.close()
        self.redis.close()

    def leaks(self) -> list[str]:
        """Keys that nothing would ever take away."""
        kept = {name for shard in self.keyspace.shards() for name in (shard.index.encode(), shard.sizes.encode())}
        return [name.decode() for name in self.redis.scan_iter() if name not in kept and self.redis.ttl(name) == -1]

    def check_budget(self) -> None:
        """The index and the sizes name the same snapshots, and every snapshot that is there stands in both with the bytes that it has."""
        for shard in self.keyspace.shards():
            sizes = self.redis.hgetall(shard.sizes)
            assert set(sizes) == set(self.redis.zrange(shard.index, 0, -1))
            for member, size in sizes.items():
                session, _, snapshot = member.decode().rpartition(":")
                fields = self.redis.hgetall(f"{session}:g:{snapshot}")
                assert sum(len(name) + len(value) for name, value in fields.items()) <= int(size), "bytes that nobody counted"
        in_index = {member for shard in self.keyspace.shards() for member in self.redis.hkeys(shard.sizes)}
        for session in SESSIONS:
            if (loaded := self.loaded(session)) and self.exists(session, loaded):
                assert self.keys(session).member(loaded).encode() in in_index, "published, but outside the budget"


def _without_time(answer: Any) -> Any:
    """A claim's answer: the fourth is how long to wait."""
    return [*answer[:3], *answer[4:]] if isinstance(answer, list) and len(answer) == 5 else answer
