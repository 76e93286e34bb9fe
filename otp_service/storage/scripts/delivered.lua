-- Takes a delivery report over into a verification's `delivery`, and changes nothing else.
--
-- @use _clock _verification _delivery
-- KEYS  1 v:<id>
-- ARGV  1 now_ms  2 id  3 send number  4 state s, d or f
--       5 the reporting gateway's name when our reference alone names the message, "" when the provider's id does
-- Returns {now, 1 when it said something new}.
-- Our reference is known to every gateway that was ever asked: by it, only the one that took the message says what
-- became of it, and one that may have taken it that it arrived.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now, number, state, gateway = clock(ARGV[1]), ARGV[3], ARGV[4], ARGV[5]
local v = load(prefix(KEYS[1]), ARGV[2])
local took = gateway == '' or v.gw == number .. ',' .. gateway
local may_have = state == 'd' and tonumber(v.mb or 0) >= tonumber(number)
if not took and not may_have then return {now, 0} end
return {now, deliver(KEYS[1], v, number, state)}
