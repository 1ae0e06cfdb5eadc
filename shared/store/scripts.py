"""The Lua of claims. Every script compares the claim with a generation and acts, in one step.

All keys of a script belong to one session (one slot); those named by a generation are made from the session's prefix, KEYS[1].
Times are ms since the epoch on Redis' own clock, so the clocks of API and workers don't count.
"""

from __future__ import annotations

_COMMON = """
local S = KEYS[1]
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function claimed(gen) return redis.call('GET', S .. 'claim') == gen end
local function mine(gen) return redis.call('HGET', S .. 'status', 'generation') == gen end
-- The published snapshot went while the session was loaded anew: from now on that load is the one that callers wait for.
local function wait_for(gen, ttl)
  redis.call('DEL', S .. 'status')
  local state = redis.call('EXISTS', S .. 'p:' .. gen) == 1 and 'loading' or 'queued'
  redis.call('HSET', S .. 'status', 'state', state, 'generation', gen, 'queued_at', now())
  redis.call('PEXPIRE', S .. 'status', ttl)
end
"""

# ARGV: snapshot_ttl, queue_lease, max attempts, retry_after_failure, force (1: load although loaded)
# -> {'loaded', gen, claimed gen or ''} | {'joined', gen} | {'claimed', gen} | {'failed', ms to wait}
ENTER = (
    _COMMON
    + """
local ttl, lease = tonumber(ARGV[1]), tonumber(ARGV[2])
local t = redis.call('TIME')
local ms, status = now(), S .. 'status'
local claim = redis.call('GET', S .. 'claim')
local gen = redis.call('GET', S .. 'loaded')
if gen and redis.call('EXISTS', S .. 'g:' .. gen) == 0 then
  redis.call('DEL', S .. 'loaded')
  gen = false
  if claim then wait_for(claim, ttl) end
end
local known = redis.call('HMGET', status, 'state', 'complete', 'retry_at', 'error_code', 'generation')
local wait = (tonumber(known[3]) or 0) - ms
if gen then
  for _, key in ipairs({'loaded', 'g:' .. gen, 'p:' .. gen, 'status'}) do redis.call('PEXPIRE', S .. key, ttl) end
  if claim or not (ARGV[5] == '1' or (known[2] == '0' and wait <= 0)) then return {'loaded', gen, ''} end
elseif claim then
  return {'joined', claim}
elseif known[1] == 'queued' and known[5] then
  -- It waits longer in the queue than its claim lasts, or its message is lost: it is enqueued again, and keeps its place in the queue.
  redis.call('SET', S .. 'claim', known[5], 'PX', lease)
  return {'claimed', known[5], ''}
elseif known[1] == 'failed' and wait > 0 and ARGV[5] ~= '1' then
  return {'failed', wait}
elseif (tonumber(redis.call('GET', S .. 'attempts')) or 0) >= tonumber(ARGV[3]) then
  redis.call('DEL', S .. 'attempts')
  redis.call('HSET', status, 'state', 'failed', 'finished_at', ms, 'retry_at', ms + ARGV[4], 'error_code', 'load_crashed',
    'error_message', 'every worker that loaded this session was lost before it was done (' .. ARGV[3] .. ' attempts): out of memory?',
    'error_retryable', 1)
  redis.call('PEXPIRE', status, ttl)
  return {'failed', tonumber(ARGV[4])}
end
local new = string.format('%d%06d', t[1], t[2])
redis.call('SET', S .. 'claim', new, 'NX', 'PX', lease)
if gen then return {'loaded', gen, new} end
redis.call('DEL', status)
redis.call('HSET', status, 'state', 'queued', 'generation', new, 'queued_at', ms)
redis.call('PEXPIRE', status, ttl)
return {'claimed', new, known[1] == 'loading' and '1' or ''}
"""
)

# ARGV: gen, lease, how long attempts are remembered, again (1: the queue says that this message was begun before)
# -> the number of this attempt; 0: the claim is lost, or the load goes on elsewhere
START = (
    _COMMON
    + """
local gen, status = ARGV[1], S .. 'status'
local claim, state = redis.call('GET', S .. 'claim'), mine(gen) and redis.call('HGET', status, 'state')
if claim ~= gen then
  -- It waited longer in the queue than its claim lasted, or its worker was lost; and nobody has asked since.
  if claim or not (state == 'queued' or (state == 'loading' and ARGV[4] == '1')) then return 0 end
elseif state == 'loading' and ARGV[4] ~= '1' then
  return 0
end
if redis.call('HEXISTS', S .. 'w:' .. gen, 'handed_over') == 1 then return 0 end
redis.call('SET', S .. 'claim', gen, 'PX', ARGV[2])
redis.call('UNLINK', S .. 'g:' .. gen, S .. 'p:' .. gen, S .. 'w:' .. gen)
local attempt = redis.call('INCR', S .. 'attempts')
redis.call('PEXPIRE', S .. 'attempts', ARGV[3])
if state then redis.call('HSET', status, 'state', 'loading', 'started_at', now(), 'attempt', attempt) end
return attempt
"""
)

# ARGV: gen, lease, how long attempts are remembered. Never shortens. -> 1, or 0: the claim is lost
RENEW = (
    _COMMON
    + """
if not claimed(ARGV[1]) then return 0 end
for _, key in ipairs({'claim', 'g:' .. ARGV[1], 'p:' .. ARGV[1], 'w:' .. ARGV[1]}) do
  if redis.call('PTTL', S .. key) < tonumber(ARGV[2]) then redis.call('PEXPIRE', S .. key, ARGV[2]) end
end
redis.call('PEXPIRE', S .. 'attempts', ARGV[3])
return 1
"""
)

# ARGV: gen. Gives a claim back that was never started. -> 1 or 0
RELEASE = (
    _COMMON
    + """
if not claimed(ARGV[1]) then return 0 end
redis.call('DEL', S .. 'claim')
if mine(ARGV[1]) then redis.call('DEL', S .. 'status') end
return 1
"""
)

# ARGV: gen, snapshot_ttl, grace, complete (1 or 0), retry_partial_after -> {1, former gen or ''}; {0}: the claim is lost
PUBLISH = (
    _COMMON
    + """
local gen = ARGV[1]
if not claimed(gen) or redis.call('EXISTS', S .. 'g:' .. gen) == 0 then return {0} end
local ms, old = now(), redis.call('GET', S .. 'loaded')
redis.call('SET', S .. 'loaded', gen, 'PX', ARGV[2])
if old and old ~= gen then
  redis.call('PEXPIRE', S .. 'g:' .. old, ARGV[3])
  redis.call('PEXPIRE', S .. 'p:' .. old, ARGV[3])
end
local status = S .. 'status'
if not mine(gen) then
  redis.call('DEL', status)
  redis.call('HSET', status, 'generation', gen)
end
redis.call('HDEL', status, 'error_code', 'error_message', 'error_retryable')
redis.call('HSET', status, 'state', 'loaded', 'complete', ARGV[4], 'finished_at', ms, 'retry_at', ms + ARGV[5])
for _, key in ipairs({'status', 'g:' .. gen, 'p:' .. gen}) do redis.call('PEXPIRE', S .. key, ARGV[2]) end
redis.call('DEL', S .. 'claim', S .. 'attempts')
redis.call('UNLINK', S .. 'w:' .. gen)
return {1, old or ''}
"""
)

# ARGV: gen, code, message, retryable (1 or 0), ms until it may be tried again, snapshot_ttl -> 1, or 0: the claim is lost
FAIL = (
    _COMMON
    + """
if not claimed(ARGV[1]) then return 0 end
local ms, status = now(), S .. 'status'
redis.call('DEL', S .. 'claim')
redis.call('UNLINK', S .. 'g:' .. ARGV[1], S .. 'w:' .. ARGV[1])
if mine(ARGV[1]) then
  redis.call('HSET', status, 'state', 'failed', 'finished_at', ms, 'retry_at', ms + ARGV[5],
    'error_code', ARGV[2], 'error_message', ARGV[3], 'error_retryable', ARGV[4])
  redis.call('PEXPIRE', status, ARGV[6])
  redis.call('PEXPIRE', S .. 'p:' .. ARGV[1], ARGV[6])
else
  redis.call('UNLINK', S .. 'p:' .. ARGV[1])
  if redis.call('EXISTS', status) == 1 then redis.call('HSET', status, 'retry_at', ms + ARGV[5]) end
end
redis.call('DEL', S .. 'attempts')
return 1
"""
)

# ARGV: gen to drop, published or not, snapshot_ttl; '' drops the session whatever its state, and ends a running load
# -> the generation that was published, if it was dropped, or ''
DROP = (
    _COMMON
    + """
local gen = redis.call('GET', S .. 'loaded')
if ARGV[1] ~= '' and gen ~= ARGV[1] then
  redis.call('UNLINK', S .. 'g:' .. ARGV[1], S .. 'p:' .. ARGV[1])
  return ''
end
local claim, status = redis.call('GET', S .. 'claim'), S .. 'status'
if gen then redis.call('UNLINK', S .. 'loaded', S .. 'g:' .. gen, S .. 'p:' .. gen, status) end
if ARGV[1] == '' then
  if claim then redis.call('UNLINK', S .. 'g:' .. claim, S .. 'p:' .. claim, S .. 'w:' .. claim) end
  redis.call('UNLINK', S .. 'claim', S .. 'attempts', status)
elseif claim then
  wait_for(claim, ARGV[2])
end
return gen or ''
"""
)
