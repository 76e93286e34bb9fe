-- Takes messages whose delivery is to be asked for; each is due again later, so that two workers do not ask at once.
--
-- @use _clock
-- KEYS  1 polls of the gateway
-- ARGV  1 now_ms  2 prefix of its messages' keys  3 how many at most
-- Returns {now, provider id, …}.  The pause grows with the message's age; after an hour nobody asks any more.
-- Those given up do not count towards "at most": where a gateway is asked for one message at a time, they would
-- otherwise cost a turn each.
-- Time in ms.  Cost O(taken + given up, 1000 of them at most).  Slot: the gateway's.
local GIVE_UP_MS = 3600000
local PAUSE_MS = 10000
local GIVEN_UP_MAX = 1000
local now, most = clock(ARGV[1]), tonumber(ARGV[3])
local out = {now}
for _, provider_id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, most + GIVEN_UP_MAX)) do
  if #out > most then break end
  local at = tonumber(string.match(redis.call('GET', ARGV[2] .. provider_id) or '', ',(%d+)$') or 0)
  if now - at > GIVE_UP_MS then
    redis.call('ZREM', KEYS[1], provider_id)
  else
    redis.call('ZADD', KEYS[1], now + math.max(PAUSE_MS, now - at), provider_id)
    out[#out + 1] = provider_id
  end
end
return out
