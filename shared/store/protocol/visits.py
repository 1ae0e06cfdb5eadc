"""The API's side of the load protocol: entering a session, dropping it, telling that it has a hole."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Literal

from cachetools import TTLCache
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shared.settings import LoadSettings
from shared.store.client import redis_errors
from shared.store.keys import Keyspace
from shared.store.protocol.script import ms, script, text

Outcome = Literal["loaded", "joined", "claimed", "failed"]

# Reasons that a load ends for without a worker that could tell it.
_CRASHED = "load_crashed"
_CRASHED_MESSAGE = "every worker that loaded this session was lost before it was done ({attempts} attempts): out of memory?"
_DAMAGED = "snapshot_damaged"
_DAMAGED_MESSAGE = "parts of its snapshot were missing in Redis, again after it was loaded anew: does Redis evict keys (maxmemory-policy)?"
# Holes of one session within this time are one story.
_HOLES_REMEMBERED = 3600.0
# A session that grows, or stays partial, rests this many times as long as it took to load before it is loaded anew.
_TIMES_OF_A_LOAD = 10
# Uses within this time count as one: a page of a dashboard asks a dozen routes at once.
_USE_NOTED_EVERY = 5.0
_USES_KNOWN = 10_000

CLAIM = script("""
-- ARGV: token, 1 to load it although it is loaded or failed, snapshot TTL, claim TTL, lease, most attempts, wait after a failure,
--   freshness, times of a load, code and message of a crash
-- -> {outcome, snapshot id or '', generation to enqueue or '', ms until a failed one may be tried, 1 if the bucket is to be looked at}
local token, force, ttl, claim_ttl, lease = ARGV[1], ARGV[2] == '1', ARGV[3], ARGV[4], tonumber(ARGV[5])
local ms, loaded, claim = now(), redis.call('GET', LOADED), redis.call('GET', CLAIM)
-- Each may have been evicted by Redis itself, or have expired. Losses stand in the progress.
if loaded and (redis.call('EXISTS', S .. 'g:' .. loaded, S .. 'p:' .. loaded) < 2 or redis.call('HGET', STATUS, 'id') ~= loaded) then
  discard(loaded)
  redis.call('DEL', LOADED, STATUS)
  loaded = false
end
if claim then
  local load = redis.call('HMGET', LOAD, 'beat', 'wake', 'token', 'revived_by')
  local asleep = tonumber(load[1] or 0) + lease <= ms or (load[2] and tonumber(load[2]) <= ms)
  if load[3] == token then
    return {loaded and 'loaded' or 'claimed', loaded or '', claim, 0, 0}
  elseif load[4] == token then
    return {loaded and 'loaded' or 'joined', loaded or '', claim, 0, 0}
  elseif not load[1] then
    redis.call('DEL', CLAIM)
    claim = false
  elseif asleep and (tonumber(redis.call('GET', ATTEMPTS)) or 0) >= tonumber(ARGV[6]) and not planned(current()) then
    end_failed(ARGV[10], ARGV[11], 1, tonumber(ARGV[7]), ttl)
    claim = false
  elseif asleep then
    -- `revived` lets its message begin a new attempt, unless its worker is heard of before.
    redis.call('HSET', LOAD, 'beat', ms, 'revived', 1, 'revived_by', token)
    redis.call('HDEL', LOAD, 'wake')
    prolong(claim_ttl, CLAIM, LOAD)
    return {loaded and 'loaded' or 'joined', loaded or '', claim, 0, 0}
  end
end
local status = redis.call('HMGET', STATUS, 'state', 'complete', 'retry_at', 'checked_at', 'checked_by', 'load_ms', 'finished_at')
local wait = (tonumber(status[3]) or 0) - ms
if loaded then
  for _, key in ipairs({LOADED, STATUS, S .. 'g:' .. loaded, S .. 'p:' .. loaded}) do redis.call('PEXPIRE', key, ttl) end
  note_use(loaded)
  if claim then return {'loaded', loaded, '', 0, 0} end
  local rest = tonumber(ARGV[9]) * (tonumber(status[6]) or 0)
  if not force and not (status[2] == '0' and wait <= 0 and (tonumber(status[7]) or 0) + rest <= ms) then
    local every = math.max(tonumber(ARGV[8]), rest)
    local due = tonumber(ARGV[8]) > 0 and (tonumber(status[4]) or 0) + every <= ms
    if due then redis.call('HSET', STATUS, 'checked_at', ms, 'checked_by', token) end
    return {'loaded', loaded, '', 0, (due or status[5] == token) and 1 or 0}
  end
elseif claim then
  return {'joined', '', '', 0, 0}
elseif status[1] == 'failed' and wait > 0 and not force then
  return {'failed', '', '', wait, 0}
end
local t = redis.call('TIME')
local new = string.format('%d%06d', t[1], t[2])
redis.call('SET', CLAIM, new, 'NX', 'PX', claim_ttl)
redis.call('DEL', LOAD)
redis.call('HSET', LOAD, 'generation', new, 'token', token, 'queued_at', ms, 'beat', ms, 'attempt', 0)
redis.call('PEXPIRE', LOAD, claim_ttl)
if not loaded then redis.call('DEL', STATUS) end
return {loaded and 'loaded' or 'claimed', loaded or '', new, 0, 0}
""")

RELEASE = script("""
-- ARGV: generation. Gives a claim back whose message could not be sent, if nobody has begun it.
if redis.call('GET', CLAIM) == ARGV[1] and redis.call('HGET', LOAD, 'attempt') == '0' then redis.call('DEL', CLAIM, LOAD) end
return 1
""")

DROP = script("""
-- Whatever its state; a running load loses its claim. -> 1
local loaded, writing = redis.call('GET', LOADED), current()
if loaded then discard(loaded) end
if writing then discard(writing) end
redis.call('DEL', LOADED, STATUS, CLAIM, LOAD, ATTEMPTS)
return 1
""")

NOTE_USE = script("""
-- ARGV: snapshot id
note_use(ARGV[1])
return 1
""")

REPORT_HOLE = script("""
-- ARGV: snapshot id, ms that holes are remembered, wait after a failure, snapshot TTL, code and message of a second one
-- -> 1 if it is dropped now
if redis.call('GET', LOADED) ~= ARGV[1] then return 1 - redis.call('EXISTS', S .. 'g:' .. ARGV[1]) end
discard(ARGV[1])
redis.call('DEL', LOADED, STATUS)
local holes = redis.call('INCR', S .. 'holes')
redis.call('PEXPIRE', S .. 'holes', ARGV[2])
if holes > 1 and not redis.call('GET', CLAIM) then
  local ms = now()
  redis.call('HSET', STATUS, 'state', 'failed', 'finished_at', ms, 'retry_at', ms + ARGV[3], 'error_code', ARGV[5],
    'error_message', ARGV[6], 'error_retryable', 1)
  redis.call('PEXPIRE', STATUS, ARGV[4])
end
return 1
""")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a visit found. `snapshot`: the published one if loaded. `enqueue`: a generation whose message is to be sent.

    `retry_after`: seconds until a failed session may be tried again. `check`: look whether the bucket holds more by now.
    """

    outcome: Outcome
    snapshot: str = ""
    enqueue: str = ""
    retry_after: float = 0.0
    check: bool = False

    @property
    def taken_over(self) -> bool:
        """The message of a load that was under way is to be sent again."""
        return bool(self.enqueue) and self.outcome == "joined"


def new_token() -> str:
    """Names one call, however often the client sends it."""
    return uuid.uuid4().hex


class Visits:
    """Raises StoreUnavailable."""

    def __init__(self, redis: AsyncRedis, keyspace: Keyspace, settings: LoadSettings) -> None:
        self._keyspace = keyspace
        self._settings = settings
        self._noted: TTLCache[str, bool] = TTLCache(_USES_KNOWN, _USE_NOTED_EVERY)
        self._claim = redis.register_script(CLAIM)
        self._release = redis.register_script(RELEASE)
        self._drop = redis.register_script(DROP)
        self._note_use = redis.register_script(NOTE_USE)
        self._report_hole = redis.register_script(REPORT_HOLE)

    async def claim(self, session_key: str, *, force: bool = False) -> Entry:
        """Find the published snapshot, join a running load, or claim a new one. Renews what is loaded, and notes its use.

        `force` claims although the session is loaded, or failed and not to be tried yet.
        """
        with redis_errors():
            found = await self._claim(self._keys(session_key), claim_arguments(self._settings, force=force))
        return entry(found)

    async def release(self, session_key: str, generation: str) -> None:
        """Give a claim back that could not be enqueued."""
        with redis_errors():
            await self._release(self._keys(session_key), [generation])

    async def drop(self, session_key: str) -> None:
        """Drop whatever Redis holds of a session; a running load stops."""
        with redis_errors():
            await self._drop(self._keys(session_key), [])

    async def report_hole(self, session_key: str, snapshot: str) -> bool:
        """A published snapshot lacks a part: it is dropped, and the next visit loads it anew; a second time, that is a failure."""
        s = self._settings
        arguments: list[Any] = [snapshot, ms(_HOLES_REMEMBERED), ms(s.retry_after_failure), ms(s.snapshot_ttl), _DAMAGED, _DAMAGED_MESSAGE]
        with redis_errors():
            return bool(await self._report_hole(self._keys(session_key), arguments))

    async def note_use(self, session_key: str, snapshot: str, *, claimed: bool = False) -> None:
        """It is being read: it must not be the next one to be evicted. `claimed`: by the same visit, just now, which has said so."""
        member = f"{session_key}:{snapshot}"
        if member in self._noted:
            return
        self._noted[member] = True
        if claimed:
            return
        with redis_errors():
            await self._note_use(self._keys(session_key), [snapshot])

    def _keys(self, session_key: str) -> list[str]:
        return self._keyspace.session(session_key).for_scripts


def claim_from_worker(redis: Redis, keyspace: Keyspace, settings: LoadSettings, session_key: str) -> Entry:
    """A worker's claim, after it found that the bucket holds more than the snapshot. Raises StoreUnavailable."""
    with redis_errors():
        found = redis.register_script(CLAIM)(keyspace.session(session_key).for_scripts, claim_arguments(settings, force=True))
    return entry(found)


def drop_from_worker(redis: Redis, keyspace: Keyspace, session_key: str) -> None:
    """Drop whatever Redis holds of a session that is not in the bucket any more. Raises StoreUnavailable."""
    with redis_errors():
        redis.register_script(DROP)(keyspace.session(session_key).for_scripts, [])


def claim_arguments(s: LoadSettings, *, force: bool) -> list[Any]:
    times = [ms(s.snapshot_ttl), ms(s.claim_ttl), ms(s.lease)]
    limits = [s.load_attempts, ms(s.retry_after_failure), round(s.freshness * 1000), _TIMES_OF_A_LOAD]
    return [new_token(), int(force), *times, *limits, _CRASHED, _CRASHED_MESSAGE.format(attempts=s.load_attempts)]


def entry(found: list[Any]) -> Entry:
    outcome: Any = text(found[0])
    return Entry(outcome, text(found[1]), text(found[2]), int(found[3]) / 1000, bool(int(found[4])))
