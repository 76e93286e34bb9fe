-- Cancels a live verification; cancelling a cancelled one again answers the same.
--
-- @use _clock _verification
-- KEYS  1 v:<id>
-- ARGV  1 now_ms  2 id  3 client
-- Returns {outcome, now, record, 1 when this call ended it}; outcome is ok, again, final or not_found.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])
local v = meet(P, id, ARGV[3], now)
if not v then return {'not_found', now, {}} end
if v.s == 'c' then return {'again', now, record(P, id)} end
if not live(v) then return {'final', now, record(P, id), v.ended or 0} end
finish(P, id, v, 'c', nil, now)
return {'ok', now, record(P, id), 1}
