-- Hands out webhooks that are due, each with a lease, in one shard.
--
-- @use _clock _verification _webhooks
-- KEYS  hook:<tenant> of one or more tenants
-- ARGV  1 now_ms  2 lease ms  3… how many of each tenant at most
-- Returns {now, how many were given up, tenant's place among KEYS, id, sealed links, status, reference or "",
--          finished ms, attempts that failed, number of the lease, …}.
-- Given up are those that waited for days in a queue that does not move; the oldest first, 100 of a tenant at once.
-- Of those whose record is gone by then nothing is left to replay.
-- Time in ms.  Cost O(tenants, and 100 more than were asked for of each).  Slot: the shard.
local LATE_MS = 84 * 3600 * 1000
local LATE_MOST = 100
local now, lease = clock(ARGV[1]), tonumber(ARGV[2])
local P, out = prefix(KEYS[1]), {now, 0}
for at, queue in ipairs(KEYS) do
  local tenant = string.sub(queue, 16)
  local room = tonumber(ARGV[2 + at])
  local found = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'WITHSCORES', 'LIMIT', 0, room + LATE_MOST)
  for place = 1, #found, 2 do
    local id, late = found[place], tonumber(found[place + 1]) <= now - LATE_MS
    local key = P .. 'v:' .. id
    if not late and room == 0 then break end
    local v = redis.call('HMGET', key, 's', 'r', 'f', 'ha')
    if not v[1] then
      redis.call('ZREM', queue, id)
      out[2] = out[2] + 1
    elseif late then
      give_up(P, tenant, id, 'too_late', now)
      out[2] = out[2] + 1
    else
      room = room - 1
      redis.call('ZADD', queue, now + lease, id)
      local links = redis.call('GET', P .. 'w:' .. id) or ''
      local number = redis.call('HINCRBY', key, 'hn', 1)
      for _, value in ipairs({at, id, links, v[1], v[2] or '', v[3], v[4] or 0, number}) do out[#out + 1] = value end
    end
  end
end
return out
