-- Gives a spent question back: the source was not reached, or said clearly that it may be asked again.
--
-- @use _clock _replay
-- KEYS  1 v:<id>  2 budget of the source, or "" when it stays spent
-- ARGV  1 now_ms  2 nonce it was spent with  3 the source when it must not be asked twice, else ""
-- Returns {outcome, now}; outcome is ok, or nothing (given back before, or spent more than two minutes ago).
-- Time in ms.  Cost O(1).  Slot: the phone's shard; the budget joins on a single server.
local now = clock(ARGV[1])
local P = prefix(KEYS[1])
local charged = seen(P, ARGV[2])
if not charged or charged == 'back' then return {'nothing', now} end
local at, count = string.match(KEYS[2] ~= '' and redis.call('GET', KEYS[2]) or '', '^(%d+),(%d+)$')
local left = at == charged and redis.call('PTTL', KEYS[2]) or 0
if left > 0 then
  redis.call('SET', KEYS[2], at .. ',' .. string.format('%d', tonumber(count) - 1), 'PX', left)
end
if ARGV[3] ~= '' then redis.call('HDEL', KEYS[1], 'wx:' .. ARGV[3]) end
remember(P, ARGV[2], 'back')
return {'ok', now}
