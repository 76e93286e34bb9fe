-- Measures webhooks of one shard; changes nothing.
--
-- @use _clock _verification _webhooks
-- KEYS  hook:<tenant>, dead:<tenant>, of any number of tenants
-- ARGV  1 now_ms
-- Returns {now, webhooks waiting, ms the oldest is overdue, webhooks given up, …}: three numbers for each tenant.
-- Time in ms.  Cost O(tenants).  Slot: the shard.
local now = clock(ARGV[1])
local out = {now}
for at = 1, #KEYS, 2 do
  local head = redis.call('ZRANGE', KEYS[at], 0, 0, 'WITHSCORES')
  out[#out + 1] = redis.call('ZCARD', KEYS[at])
  out[#out + 1] = head[2] and math.max(0, now - tonumber(head[2])) or 0
  out[#out + 1] = redis.call('ZCOUNT', KEYS[at + 1], now - DEAD_MS, '+inf')
end
return out
