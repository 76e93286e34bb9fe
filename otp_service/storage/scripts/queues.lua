-- Measures one shard's queues; changes nothing.
--
-- @use _clock
-- KEYS  1 sms stream  2 ask  3 due
-- ARGV  1 now_ms
-- Returns {now, SMS queued, age of the oldest ms, ownership checks waiting, ms the oldest is overdue,
--          verifications past their deadline, ms the oldest is overdue}.
-- Time in ms.  Cost O(1).  Slot: the shard.
local now = clock(ARGV[1])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local oldest = first[1] and math.max(0, now - tonumber(string.match(first[1][1], '^(%d+)'))) or 0

local function overdue(key)
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return head[2] and math.max(0, now - tonumber(head[2])) or 0
end

return {now, redis.call('XLEN', KEYS[1]), oldest, redis.call('ZCARD', KEYS[2]), overdue(KEYS[2]),
  redis.call('ZCOUNT', KEYS[3], '-inf', now), overdue(KEYS[3])}
