-- Keeps the token that a caller has fetched, sealed, and ends its lease.
--
-- @use _clock
-- KEYS  1 token  2 lease of whoever fetches the next
-- ARGV  1 now_ms  2 ms the token is good  3 ms it is kept (what the next is fetched with lives longer)
--       4 sealed token or "" when none was got  5 holder
-- Returns {now, version}.  A token is kept also when the lease ran out: it may be the only way to the next one.
-- Time in ms.  Cost O(1).  Slot: the gateway's.
local now = clock(ARGV[1])
if string.match(redis.call('GET', KEYS[2]) or '', '^([^,]*),') == ARGV[5] then redis.call('DEL', KEYS[2]) end
local version = tonumber(string.match(redis.call('GET', KEYS[1]) or '', '^(%d+),') or 0)
if ARGV[4] == '' then return {now, version} end
redis.call('SET', KEYS[1], (version + 1) .. ',' .. (now + tonumber(ARGV[2])) .. ',' .. ARGV[4], 'PX', ARGV[3])
return {now, version + 1}
