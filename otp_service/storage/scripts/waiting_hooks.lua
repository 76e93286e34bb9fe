-- Shows a tenant's webhooks that wait, in one shard, the next first; changes nothing.
--
-- @use _clock
-- KEYS  1 hook:<tenant>
-- ARGV  1 now_ms  2 how many at most
-- Returns {now, id, status, when the next attempt is due ms, attempts that failed, word of the last one or "", …}.
-- Of one that is being told now, that is the end of its lease.
-- Time in ms.  Cost O(shown).  Slot: the shard.
local now, P = clock(ARGV[1]), prefix(KEYS[1])
local out = {now}
local found = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
for at = 1, #found, 2 do
  local v = redis.call('HMGET', P .. 'v:' .. found[at], 's', 'ha', 'hs')
  if v[1] then
    for _, value in ipairs({found[at], v[1], found[at + 1], v[2] or 0, v[3] or ''}) do out[#out + 1] = value end
  end
end
return out
