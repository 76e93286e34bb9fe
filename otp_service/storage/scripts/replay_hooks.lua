-- Queues webhooks again that were given up, in one shard, with all their attempts before them.
--
-- @use _clock _verification _webhooks
-- KEYS  1 dead:<tenant>
-- ARGV  1 now_ms  2 tenant  3 how many at most  4… ids; without any, the oldest
-- Returns {now, how many were queued, how many were gone}.
-- Time in ms.  Cost O(queued).  Slot: the shard.
local now, P = clock(ARGV[1]), prefix(KEYS[1])
local ids, queued, gone = {unpack(ARGV, 4)}, 0, 0
if #ids == 0 then ids = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1) end
for _, id in ipairs(ids) do
  if redis.call('ZREM', KEYS[1], id) == 1 then
    local key = P .. 'v:' .. id
    if redis.call('EXISTS', key) == 1 then
      redis.call('HDEL', key, 'ha', 'hs')
      hook(P, ARGV[2], id, now)
      keep_for(key, TOMBSTONE_MS)
      keep_for(P .. 'w:' .. id, TOMBSTONE_MS)
      queued = queued + 1
    else
      gone = gone + 1
    end
  end
end
return {now, queued, gone}
