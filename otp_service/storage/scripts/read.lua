-- Reads one verification; changes nothing.  One past its deadline is shown as what it has become.
--
-- @use _clock _verification
-- KEYS  1 v:<id>  2 x:<id> or w:<id>, if that is wanted too
-- ARGV  1 now_ms  2 client
-- Returns {now, record, status, reason or "", what is sealed there or ""}; the record is empty when there is none or it is another client's.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now = clock(ARGV[1])
local flat_record = redis.call('HGETALL', KEYS[1])
local v = pairs_of(flat_record)
if v.c ~= ARGV[2] then return {now, {}, '', '', ''} end
local status, reason = v.s, v.q
if live(v) and now >= deadline(v) then status, reason = overdue(v) end
return {now, flat_record, status, reason or '', KEYS[2] and redis.call('GET', KEYS[2]) or ''}
