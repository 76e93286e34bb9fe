-- Hands out ownership checks that are due, each with a lease, in one shard.
--
-- @use _clock
-- KEYS  1 ask
-- ARGV  1 now_ms  2 lease ms  3 how many at most
-- Returns {now, id, sealed ID numbers, sealed phone, …}.
-- Time in ms.  Cost O(handed out).  Slot: the shard.
local now = clock(ARGV[1])
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[3]))
local out = {now}
for _, id in ipairs(ids) do
  local sealed = redis.call('HMGET', prefix(KEYS[1]) .. 'v:' .. id, 'I', 'P')
  if sealed[1] then
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), id)
    out[#out + 1], out[#out + 2], out[#out + 3] = id, sealed[1], sealed[2]
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return out
