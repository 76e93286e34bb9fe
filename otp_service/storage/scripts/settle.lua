-- Settles an ownership check: compare-and-set on `checking_ownership`.
--
-- @use _clock _verification
-- KEYS  1 v:<id>  2… logs of the ID numbers, every name
-- ARGV  1 now_ms  2 id  3 outcome m, x, n or e  4 source  5 assurance or ""  6 ms until the next try after an error
-- Returns {outcome, now, record, 1 when this call ended it}; outcome is ok (settled now), waits (asked again later) or settled (was before).
-- A refund removes the entries by the verification's id, so that a second one does nothing.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard; the ID number's log joins on a single server.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])
local v = meet(P, id, '', now)

-- A question that was not answered is given back, also when the verification ended meanwhile.
if v and v.w ~= 'm' and v.w ~= 'x' and (ARGV[3] == 'n' or ARGV[3] == 'e') then
  redis.call('HDEL', P .. 'p:' .. v.h, 'o:' .. id)
  for at = 2, #KEYS do redis.call('ZREM', KEYS[at], id) end
end
if not v or v.s ~= 'o' then return {'settled', now, record(P, id), v and v.ended or 0} end

local outcome = ARGV[3]
redis.call('HSET', KEYS[1], 'w', outcome, 'ws', ARGV[4], 'wa', ARGV[5], 'wt', now)
v.w = outcome
if outcome == 'm' then
  finish(P, id, v, 'v', nil, now)
  return {'ok', now, record(P, id), 1}
end
if outcome == 'x' then
  finish(P, id, v, 'r', 'm', now)
  return {'ok', now, record(P, id), 1}
end
if outcome == 'n' then
  if not v.A then
    finish(P, id, v, 'r', 'n', now)
    return {'ok', now, record(P, id), 1}
  end
  redis.call('ZREM', P .. 'ask', id)
  return {'waits', now, record(P, id)}
end
local asks = redis.call('HINCRBY', KEYS[1], 'wn', 1)
local wait = tonumber(ARGV[6]) * 2 ^ math.min(asks - 1, 4)
redis.call('ZADD', P .. 'ask', math.min(now + wait, tonumber(v.wl)), id)
return {'waits', now, record(P, id)}
