"""The steps of a large load, as rows of its ledger: waiting, held by whom until when, or done.

A message on the queue only says "this load wants a hand". Whoever takes it takes one step, and sends the next message to the end of the
queue if more steps wait: so each load has one message waiting, and loads take turns, however large they are and however many workers work.
A step whose holder was lost is taken again when its hold runs out.

A row `step:{phase}:{number}` is absent while it waits, `{token} {held until, ms} {tries} {message}` while it is held, then `done`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis

from shared.settings import LoadSettings
from shared.store.client import redis_errors
from shared.store.keys import SessionKeys
from shared.store.protocol.attempts import Holder
from shared.store.protocol.script import ms, script, text

PLAN = script("""
-- ARGV: snapshot id, run, claim TTL, then phase, number of its steps, ... -> 1; 0: another attempt's by now
local id = ARGV[1]
if not may_write(id, '', ARGV[2]) then return 0 end
local work = S .. 'w:' .. id
if redis.call('HEXISTS', work, 'phases') == 0 then
  local phases = {}
  for at = 4, #ARGV, 2 do phases[#phases + 1] = {ARGV[at], tonumber(ARGV[at + 1])} end
  redis.call('HSET', work, 'phases', cjson.encode(phases), 'phase', 1, 'left', phases[1][2])
end
redis.call('PEXPIRE', work, ARGV[3])
beat(id, ARGV[3])
return 1
""")

TAKE_STEP = script("""
-- ARGV: snapshot id, token, lease, claim TTL, message, 1 if the queue lost who had taken this very message
-- -> {'step', phase, number, tries, how many more may be taken}
--   | {'busy'}: all that can be done now is being done | {'over'}: ended, or another attempt's by now
local id, token, work = ARGV[1], ARGV[2], S .. 'w:' .. ARGV[1]
if current() ~= id then return {'over'} end
local ledger = redis.call('HMGET', work, 'phases', 'phase')
if not ledger[1] then return {'over'} end
local phase = cjson.decode(ledger[1])[tonumber(ledger[2])]
if not phase then return {'over'} end
local ms, free, mine, others, soonest = now(), nil, nil, 0, nil
for number = 0, phase[2] - 1 do
  local row = redis.call('HGET', work, 'step:' .. phase[1] .. ':' .. number)
  if not row then
    free, others = free or number, others + 1
  elseif row ~= 'done' then
    local holder, till, tries, message = holder_of(row)
    if holder == token then
      mine = {'step', phase[1], number, tonumber(tries)}
    elseif ARGV[6] == '1' and message == ARGV[5] then
      free, others = number, others + 1
    elseif tonumber(till) <= ms then
      free, others = free or number, others + 1
    elseif not soonest or tonumber(till) < soonest then
      soonest = tonumber(till)
    end
  end
end
if mine then
  mine[5] = others
  return mine
elseif not free then
  -- The next visit after the first hold ran out sends a message.
  if soonest then redis.call('HSET', LOAD, 'wake', string.format('%.0f', soonest)) end
  return {'busy'}
end
local row = redis.call('HGET', work, 'step:' .. phase[1] .. ':' .. free)
local _, _, tries = holder_of(row or '')
tries = (tonumber(tries) or 0) + 1
redis.call('HSET', work, 'step:' .. phase[1] .. ':' .. free, holding(token, ms + ARGV[3], tries, ARGV[5]))
beat(id, ARGV[4])
return {'step', phase[1], free, tries, others - 1}
""")

COMPLETE_STEP = script("""
-- ARGV: snapshot id, token, step, claim TTL, report -> steps that wait now, if this one was the last of its phase; 0: others are not done;
--   -1: it was another's by now
local id, token, step, work = ARGV[1], ARGV[2], ARGV[3], S .. 'w:' .. ARGV[1]
if redis.call('HGET', work, 'completed_by:' .. step) == token then return tonumber(redis.call('HGET', work, 'opened_by:' .. step)) end
if not may_write(id, step, token) then return -1 end
redis.call('HSET', work, 'step:' .. step, 'done', 'completed_by:' .. step, token)
if ARGV[5] ~= '' then redis.call('HSET', S .. 'p:' .. id, 'report:' .. step, ARGV[5]) end
local opened = 0
if redis.call('HINCRBY', work, 'left', -1) == 0 then
  local phases, at = cjson.decode(redis.call('HGET', work, 'phases')), redis.call('HINCRBY', work, 'phase', 1)
  opened = phases[at] and phases[at][2] or 0
  redis.call('HSET', work, 'left', opened)
end
redis.call('HSET', work, 'opened_by:' .. step, opened)
beat(id, ARGV[4])
return opened
""")


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is ours for a lease. `tries`: how often it was taken, this time included. `others`: how many more may be taken now."""

    phase: str
    number: int
    tries: int
    others: int

    @property
    def name(self) -> str:
        return f"{self.phase}:{self.number}"


class Ledger:
    """Of one session's load. Raises StoreUnavailable."""

    def __init__(self, redis: Redis, keys: SessionKeys, settings: LoadSettings) -> None:
        self._redis = redis
        self._keys = keys
        self._settings = settings

    def plan(self, snapshot: str, run: str, phases: list[tuple[str, int]]) -> bool:
        """The steps of an attempt: how many of each phase. A phase begins when the one before it is done."""
        words = [word for phase in phases for word in phase]
        return bool(self._run(PLAN, [snapshot, run, ms(self._settings.claim_ttl), *words]))

    def take_step(self, snapshot: str, token: str, message: str, *, redelivered: bool) -> Step | Literal["busy", "over"]:
        """A step that waits, whose hold ran out, or that was taken for this very `message`, if the queue lost who took it."""
        times = [ms(self._settings.lease), ms(self._settings.claim_ttl)]
        found = self._run(TAKE_STEP, [snapshot, token, *times, message, int(redelivered)])
        if text(found[0]) == "step":
            return Step(text(found[1]), int(found[2]), int(found[3]), int(found[4]))
        return "busy" if text(found[0]) == "busy" else "over"

    def complete_step(self, holder: Holder, report: str) -> int | None:
        """How many steps a new phase has, if this was the last of its own, else 0; None: it was another holder's by now."""
        opened = int(self._run(COMPLETE_STEP, [holder.snapshot, holder.token, holder.step, ms(self._settings.claim_ttl), report]))
        return None if opened < 0 else opened

    def _run(self, body: str, arguments: list[Any]) -> Any:
        with redis_errors():
            return self._redis.register_script(body)(self._keys.for_scripts, arguments)
