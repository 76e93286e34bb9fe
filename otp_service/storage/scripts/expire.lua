-- Ends what is past its deadline, in one shard.
--
-- @use _clock _verification
-- KEYS  1 due
-- ARGV  1 now_ms  2 how many at most
-- Returns {now, how many were due, id, purpose, status, reason or "", age ms, …}.
-- Time in ms.  Cost O(ended).  Slot: the shard.
local now = clock(ARGV[1])
local P = prefix(KEYS[1])
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))
local out = {now, #ids}
for _, id in ipairs(ids) do
  local v = pairs_of(redis.call('HGETALL', P .. 'v:' .. id))
  if not v.s or not live(v) then
    redis.call('ZREM', KEYS[1], id)
  elseif now >= deadline(v) then
    local status, reason = overdue(v)
    finish(P, id, v, status, reason, now)
    for _, value in ipairs({id, v.u, status, reason or '', now - tonumber(v.b)}) do out[#out + 1] = value end
  end
end
return out
