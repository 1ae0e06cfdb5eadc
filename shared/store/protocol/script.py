"""What all scripts of the protocol share.

Their keys are those of one session (`SessionKeys.for_scripts`): the session's prefix, and its shard's index and sizes. Times are ms since
the epoch on Redis' own clock, so the clocks of API and workers don't count.
"""

from __future__ import annotations

from typing import Any

_COMMON = """
local S, INDEX, SIZES = KEYS[1], KEYS[2], KEYS[3]
local CLAIM, LOAD, STATUS, LOADED, ATTEMPTS = S .. 'claim', S .. 'load', S .. 'status', S .. 'loaded', S .. 'attempts'

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The id of what the claimed load's last attempt writes; false: nothing is claimed.
local function current()
  local gen = redis.call('GET', CLAIM)
  local load = redis.call('HMGET', LOAD, 'generation', 'attempt')
  return gen and load[1] == gen and gen .. '.' .. load[2]
end

-- Does it go on as steps of a ledger?
local function planned(id) return redis.call('HEXISTS', S .. 'w:' .. id, 'phases') == 1 end

-- Forget all that an attempt wrote, and its bytes.
local function discard(id)
  redis.call('UNLINK', S .. 'g:' .. id, S .. 'w:' .. id, S .. 'p:' .. id)
  redis.call('ZREM', INDEX, S .. id)
  redis.call('HDEL', SIZES, S .. id)
end

-- A snapshot is being read: it is not the next one to be evicted.
local function note_use(id)
  if redis.call('ZSCORE', INDEX, S .. id) then redis.call('ZADD', INDEX, now(), S .. id) end
end

local function prolong(ttl, ...)
  for _, key in ipairs({...}) do
    if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
  end
end

-- Somebody works on the claimed load.
local function beat(id, ttl)
  redis.call('HSET', LOAD, 'beat', now())
  redis.call('HDEL', LOAD, 'wake', 'revived')
  prolong(ttl, CLAIM, LOAD, S .. 'g:' .. id, S .. 'w:' .. id, S .. 'p:' .. id)
end

-- Was the key that a load writes lost (evicted by Redis) since it wrote to it?
local function lost_snapshot(id)
  return (tonumber(redis.call('HGET', SIZES, S .. id)) or 0) > 0 and redis.call('EXISTS', S .. 'g:' .. id) == 0
end

-- The claimed load ends without a snapshot. A published one stays, and may be loaded anew after `wait` ms.
local function end_failed(code, message, retryable, wait, ttl)
  local ms, id = now(), current()
  local load = redis.call('HMGET', LOAD, 'attempt', 'queued_at', 'started_at')
  if redis.call('EXISTS', LOADED) == 1 then
    redis.call('UNLINK', S .. 'p:' .. id)
    redis.call('HSET', STATUS, 'ended', id, 'retry_at', ms + wait)
    prolong(ttl, STATUS)
  else
    redis.call('DEL', STATUS)
    redis.call('HSET', STATUS, 'state', 'failed', 'ended', id, 'id', id, 'attempt', load[1], 'queued_at', load[2] or '',
      'started_at', load[3] or '', 'finished_at', ms, 'retry_at', ms + wait, 'error_code', code, 'error_message', message,
      'error_retryable', retryable)
    redis.call('PEXPIRE', STATUS, ttl)
    redis.call('PEXPIRE', S .. 'p:' .. id, ttl)
  end
  redis.call('UNLINK', S .. 'g:' .. id, S .. 'w:' .. id)
  redis.call('ZREM', INDEX, S .. id)
  redis.call('HDEL', SIZES, S .. id)
  redis.call('DEL', CLAIM, LOAD, ATTEMPTS)
end

-- The holder of a step: token, till when (ms), tries, message.
local function holder_of(row) return string.match(row, '^(%S+) (%d+) (%d+) (%S+)$') end
local function holding(token, till, tries, message) return string.format('%s %.0f %d %s', token, till, tries, message) end

-- May this attempt (and, if it is at a step, this holder of the step) still write?
local function may_write(id, step, token)
  if current() ~= id then return false end
  if step == '' then return redis.call('HGET', LOAD, 'run') == token end
  local held = redis.call('HGET', S .. 'w:' .. id, 'step:' .. step)
  return held and string.sub(held, 1, #token + 1) == token .. ' '
end
"""


def script(body: str) -> str:
    """The text of a script; `body` begins with what its ARGV are and what it returns."""
    return _COMMON + body


def ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
