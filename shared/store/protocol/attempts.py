"""The workers' side of the load protocol: an attempt from its beginning to `publish` or `fail`. All it writes is its own, and fenced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from redis import Redis

from shared.errors import RecordMissing
from shared.settings import LoadSettings
from shared.store.client import redis_errors
from shared.store.keys import SessionKeys
from shared.store.protocol.script import ms, script, text

BEGIN_ATTEMPT = script("""
-- ARGV: generation, run, 1 if its message was begun before and not ended, lease, claim TTL, ms that attempts are remembered, most attempts,
--   wait after a failure, snapshot TTL, code and message of too many attempts
-- -> {'begun', attempt} | {'running'}: elsewhere | {'planned', attempt}: its steps want hands | {'lost'}: not claimed, or failed by now
local gen, run, ms = ARGV[1], ARGV[2], now()
if redis.call('GET', CLAIM) ~= gen then return {'lost'} end
local load = redis.call('HMGET', LOAD, 'attempt', 'run', 'beat', 'revived')
local id = current()
if load[2] == run then return {'begun', load[1]} end
if planned(id) then
  beat(id, ARGV[5])
  return {'planned', load[1]}
end
if load[1] ~= '0' and tonumber(load[3]) + ARGV[4] > ms and ARGV[3] ~= '1' and not load[4] then return {'running'} end
local attempts = redis.call('INCR', ATTEMPTS)
redis.call('PEXPIRE', ATTEMPTS, ARGV[6])
if attempts > tonumber(ARGV[7]) then
  end_failed(ARGV[10], ARGV[11], 1, tonumber(ARGV[8]), ARGV[9])
  return {'lost'}
end
discard(id)
local attempt = redis.call('HINCRBY', LOAD, 'attempt', 1)
redis.call('HSET', LOAD, 'run', run, 'started_at', ms)
id = gen .. '.' .. attempt
redis.call('ZADD', INDEX, ms, S .. id)
redis.call('HSET', SIZES, S .. id, 0)
beat(id, ARGV[5])
return {'begun', tostring(attempt)}
""")

RENEW = script("""
-- ARGV: snapshot id, token, step or '', lease, claim TTL, phase or '', report or '' -> 1; 0: it may not write any more
local id, token, step = ARGV[1], ARGV[2], ARGV[3]
if not may_write(id, step, token) then return 0 end
if step ~= '' then
  local _, _, tries, message = holder_of(redis.call('HGET', S .. 'w:' .. id, 'step:' .. step))
  redis.call('HSET', S .. 'w:' .. id, 'step:' .. step, holding(token, now() + ARGV[4], tries, message))
end
if ARGV[6] ~= '' then redis.call('HSET', S .. 'p:' .. id, 'phase', ARGV[6]) end
if ARGV[7] ~= '' then redis.call('HSET', S .. 'p:' .. id, 'report:' .. step, ARGV[7]) end
beat(id, ARGV[5])
return 1
""")

WRITE = script("""
-- ARGV: snapshot id, token, step or '', 'g' (snapshot) or 'w' (for later steps), claim TTL, bytes that this holder has written with
--   these, then field, value, ... -> 1; 0: it may not write any more; -1: what was written before is lost
local id, token, step, kind = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not may_write(id, step, token) then return 0 end
if kind == 'g' and lost_snapshot(id) then return -1 end
for at = 7, #ARGV, 2 do redis.call('HSET', S .. kind .. ':' .. id, ARGV[at], ARGV[at + 1]) end
if kind == 'g' then
  local former = 0
  if step == '' then
    redis.call('HSET', SIZES, S .. id, ARGV[6])
  else
    former = tonumber(redis.call('HGET', S .. 'w:' .. id, 'size:' .. step)) or 0
    redis.call('HSET', S .. 'w:' .. id, 'size:' .. step, ARGV[6])
    redis.call('HINCRBY', SIZES, S .. id, ARGV[6] - former)
  end
end
beat(id, ARGV[5])
return 1
""")

PUBLISH = script("""
-- ARGV: snapshot id, token, step or '', snapshot TTL, ms that a replaced one stays readable, wait before a partial one is loaded anew, last
--   report or '', then fields of the status (complete, ...) -> 1, also when it was published before; 0: it may not be;
--   -1: something that was written, or reported by a step, is lost
local id, token, step, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local former = redis.call('GET', LOADED)
if former == id then return 1 end
if not may_write(id, step, token) then return 0 end
if redis.call('EXISTS', S .. 'g:' .. id) == 0 then return lost_snapshot(id) and -1 or 0 end
if step ~= '' then
  -- Losses stand in the reports: one that is missing would make a partial snapshot complete.
  local reported = {}
  for _, name in ipairs(redis.call('HKEYS', S .. 'p:' .. id)) do reported[name] = true end
  if not reported['report:'] then return -1 end
  for _, name in ipairs(redis.call('HKEYS', S .. 'w:' .. id)) do
    if string.sub(name, 1, 5) == 'step:' and name ~= 'step:' .. step and not reported['report:' .. string.sub(name, 6)] then return -1 end
  end
end
local ms, load = now(), redis.call('HMGET', LOAD, 'attempt', 'queued_at', 'started_at')
-- First what a full Redis refuses: a script that is cut off here has changed nothing.
redis.call('SET', LOADED, id, 'PX', ttl)
if former then
  redis.call('PEXPIRE', S .. 'g:' .. former, ARGV[5])
  redis.call('PEXPIRE', S .. 'p:' .. former, ARGV[5])
  redis.call('ZREM', INDEX, S .. former)
  redis.call('HDEL', SIZES, S .. former)
end
if ARGV[7] ~= '' then redis.call('HSET', S .. 'p:' .. id, 'report:' .. step, ARGV[7]) end
local growing = former and redis.call('HGET', STATUS, 'growing') or 0
redis.call('DEL', STATUS)
redis.call('HSET', STATUS, 'state', 'loaded', 'growing', growing or 0, 'id', id, 'attempt', load[1], 'queued_at', load[2],
  'started_at', load[3], 'finished_at', ms, 'load_ms', ms - load[3], 'checked_at', ms, 'retry_at', ms + ARGV[6])
for at = 8, #ARGV, 2 do redis.call('HSET', STATUS, ARGV[at], ARGV[at + 1]) end
redis.call('ZADD', INDEX, ms, S .. id)
redis.call('UNLINK', S .. 'w:' .. id)
redis.call('DEL', CLAIM, LOAD, ATTEMPTS)
for _, key in ipairs({STATUS, S .. 'g:' .. id, S .. 'p:' .. id}) do redis.call('PEXPIRE', key, ttl) end
return 1
""")

FAIL = script("""
-- ARGV: snapshot id, token, step or '', code, message, 1 if it may go better later, wait before that in ms, snapshot TTL
-- -> 1, also when it was failed before; 0: the load is another attempt's
if current() ~= ARGV[1] then return redis.call('HGET', STATUS, 'ended') == ARGV[1] and 1 or 0 end
if not may_write(ARGV[1], ARGV[3], ARGV[2]) then return 0 end
end_failed(ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8])
return 1
""")

Begun = Literal["begun", "running", "planned", "lost"]
_CRASHED = "load_crashed"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who writes: one run of an attempt, or of one of its steps. `token` is new for each."""

    snapshot: str
    token: str
    step: str = ""

    @property
    def words(self) -> list[str]:
        return [self.snapshot, self.token, self.step]


class Attempts:
    """Of one session. Raises StoreUnavailable, RecordMissing when Redis lost what was written.

    What returns False was refused: the load goes on elsewhere, or was dropped.
    """

    def __init__(self, redis: Redis, keys: SessionKeys, settings: LoadSettings) -> None:
        self._redis = redis
        self._keys = keys
        self._settings = settings
        # For as long as a claim may outlast its workers, and for somebody to come after it.
        self._remembered = max(settings.retry_after_failure, 2 * settings.claim_ttl) + settings.lease * settings.load_attempts

    def begin(self, generation: str, run: str, *, redelivered: bool) -> tuple[Begun, int]:
        """What is to be done for a message of this load, and the attempt's number. `redelivered`: the queue lost who had begun it."""
        s = self._settings
        times = [ms(s.lease), ms(s.claim_ttl), ms(self._remembered)]
        crashed = f"its workers were lost in {s.load_attempts} attempts: out of memory?"
        failure = [ms(s.retry_after_failure), ms(s.snapshot_ttl), _CRASHED, crashed]
        found = self._run(BEGIN_ATTEMPT, [generation, run, int(redelivered), *times, s.load_attempts, *failure])
        outcome: Any = text(found[0])
        return outcome, int(found[1]) if len(found) > 1 else 0

    def renew(self, holder: Holder, phase: str = "", report: str = "") -> bool:
        """Hold on to the load, or the step, for a lease, and say how far it is."""
        times = [ms(self._settings.lease), ms(self._settings.claim_ttl)]
        return bool(self._run(RENEW, [*holder.words, *times, phase, report]))

    def write_snapshot(self, holder: Holder, fields: Mapping[str, bytes], written: int) -> bool:
        """`written`: bytes that this holder has written to the snapshot, these included."""
        return self._write(holder, "g", fields, written)

    def read_snapshot(self, snapshot: str, names: list[str]) -> list[bytes | None]:
        """Fields that this load has written."""
        with redis_errors():
            return cast("list[bytes | None]", self._redis.hmget(self._keys.snapshot(snapshot), names))

    def write_intermediate(self, holder: Holder, fields: Mapping[str, bytes]) -> bool:
        """For later steps of the same load; goes with it."""
        return self._write(holder, "w", fields, 0)

    def read_intermediate(self, snapshot: str, names: list[str]) -> list[bytes | None]:
        with redis_errors():
            return cast("list[bytes | None]", self._redis.hmget(self._keys.work(snapshot), names)) if names else []

    def forget_intermediate(self, snapshot: str, names: list[str]) -> None:
        """Of a step that is done."""
        with redis_errors():
            self._redis.hdel(self._keys.work(snapshot), *names)

    def reports(self, snapshot: str) -> dict[bytes, bytes]:
        """What each step has reported, as `report:{step}`, and the phase."""
        with redis_errors():
            return cast("dict[bytes, bytes]", self._redis.hgetall(self._keys.progress(snapshot)))

    def publish(self, holder: Holder, report: str, status: Mapping[str, str | int]) -> bool:
        """Flip the loaded marker. The former snapshot stays readable for a while."""
        s = self._settings
        times = [ms(s.snapshot_ttl), ms(s.snapshot_grace), ms(s.retry_partial_after)]
        return _done(self._run(PUBLISH, [*holder.words, *times, report, *(word for pair in status.items() for word in pair)]))

    def fail(self, holder: Holder, code: str, message: str, *, retryable: bool, retry_after: float) -> bool:
        """Record why the load failed, and give the claim back, if `holder` may still write."""
        return bool(self._run(FAIL, [*holder.words, code, message, int(retryable), ms(retry_after), ms(self._settings.snapshot_ttl)]))

    def _write(self, holder: Holder, kind: str, fields: Mapping[str, bytes], written: int) -> bool:
        pairs = [word for pair in fields.items() for word in pair]
        return _done(self._run(WRITE, [*holder.words, kind, ms(self._settings.claim_ttl), written, *pairs]))

    def _run(self, body: str, arguments: list[Any]) -> Any:
        with redis_errors():
            return self._redis.register_script(body)(self._keys.for_scripts, arguments)


def _done(answer: int) -> bool:
    if answer < 0:
        raise RecordMissing("Redis lost a part of what this load wrote: does it evict keys (maxmemory-policy)?")
    return bool(answer)
