-- Gives out a gateway's token; when it is due for renewal, one caller is told to fetch the next.
--
-- @use _clock
-- KEYS  1 token  2 lease of whoever fetches the next
-- ARGV  1 now_ms  2 version of a token that was not taken, or 0  3 lease ms  4 holder
-- Returns {now, version, sealed token or "", 1 when it is good, 1 when this caller is to fetch the next}.
-- A lease is "<holder>,<until>".
-- Time in ms.  Cost O(1).  Slot: the gateway's.
local now = clock(ARGV[1])
local version, until_ms, sealed = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+),(%d+),(.*)$')
version = tonumber(version or 0)
if version > tonumber(ARGV[2]) and now < tonumber(until_ms) then return {now, version, sealed, 1, 0} end
local holder, ends = string.match(redis.call('GET', KEYS[2]) or '', '^([^,]*),(%d+)$')
if holder and holder ~= ARGV[4] and now < tonumber(ends) then return {now, version, sealed or '', 0, 0} end
redis.call('SET', KEYS[2], ARGV[4] .. ',' .. (now + tonumber(ARGV[3])), 'PX', tonumber(ARGV[3]) + 1000)
return {now, version, sealed or '', 0, 1}
