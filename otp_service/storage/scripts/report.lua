-- Finds the send that a delivery report is about; one that comes before the gateway's answer is kept for it.
--
-- @use _clock
-- KEYS  1 message at the gateway  2 its early reports  3 its polls
-- ARGV  1 now_ms  2 state s, d or f  3 provider id
-- Returns {outcome, now, id, send number, accepted at}; outcome is known, early (kept for ten minutes) or full (too many
-- of them: dropped).
-- Time in ms.  Cost O(log early reports).  Slot: the gateway's.
local EARLY_MS = 600000
local EARLY_MAX = 10000
local now = clock(ARGV[1])
local id, number, at = string.match(redis.call('GET', KEYS[1]) or '', '^([^,]+),(%d+),(%d+)$')
if id then
  if ARGV[2] ~= 's' then redis.call('ZREM', KEYS[3], ARGV[3]) end
  return {'known', now, id, tonumber(number), tonumber(at)}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - EARLY_MS)
if redis.call('ZCARD', KEYS[2]) >= EARLY_MAX then return {'full', now, '', 0, 0} end
redis.call('ZADD', KEYS[2], now, ARGV[2] .. ARGV[3])
redis.call('PEXPIRE', KEYS[2], EARLY_MS)
return {'early', now, '', 0, 0}
