-- Shows a tenant's webhooks that were given up, in one shard, the newest first; changes nothing.
--
-- @use _clock _verification _webhooks
-- KEYS  1 dead:<tenant>
-- ARGV  1 now_ms  2 how many at most
-- Returns {now, id, status, when it was given up ms, attempts, word of the last one, …}.
-- Time in ms.  Cost O(shown).  Slot: the shard.
local now = clock(ARGV[1])
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', now - DEAD_MS, 'WITHSCORES', 'LIMIT', 0,
  tonumber(ARGV[2]))
return shown(prefix(KEYS[1]), now, found)
