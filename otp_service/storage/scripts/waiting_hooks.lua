-- Shows a tenant's webhooks that wait, in one shard, the next first; changes nothing.
--
-- @use _clock _verification _webhooks
-- KEYS  1 hook:<tenant>
-- ARGV  1 now_ms  2 how many at most
-- Returns {now, id, status, when the next attempt is due ms, attempts that failed, word of the last one or "", …}.
-- Of one that is being told now, that is the end of its lease.
-- Time in ms.  Cost O(shown).  Slot: the shard.
local now = clock(ARGV[1])
local found = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
return shown(prefix(KEYS[1]), now, found)
