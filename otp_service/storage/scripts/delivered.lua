-- Takes a delivery report over into a verification's `delivery`, and changes nothing else.
--
-- @use _clock _verification _delivery
-- KEYS  1 v:<id>
-- ARGV  1 now_ms  2 id  3 send number  4 state s, d or f
-- Returns {now, 1 when it said something new}.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now = clock(ARGV[1])
return {now, deliver(KEYS[1], load(prefix(KEYS[1]), ARGV[2]), ARGV[3], ARGV[4])}
