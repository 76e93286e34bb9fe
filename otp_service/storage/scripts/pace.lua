-- Reserves a place at a gateway that takes only so many SMS per second, all workers together.
--
-- @use _clock
-- KEYS  1 rate of the gateway
-- ARGV  1 now_ms  2 emission ms  3 tolerance ms  4 how long the caller would wait at most, ms
-- Returns {now, ms until the place, or -1 when the wait is too long: nothing is reserved then}.
-- Time in ms.  Cost O(1).  Slot: the gateway's.
local now, emission = clock(ARGV[1]), tonumber(ARGV[2])
local tat = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local wait = math.max(0, math.ceil(tat + emission - tonumber(ARGV[3]) - now - 0.01))
if wait > tonumber(ARGV[4]) then return {now, -1} end
local arrival = tat + emission
redis.call('SET', KEYS[1], string.format('%.4f', arrival), 'PX', math.ceil(arrival - now) + 1000)
return {now, wait}
