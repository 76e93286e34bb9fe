-- Records what an attempt to deliver a webhook came to: compare-and-set on its lease.
--
-- @use _clock _verification _webhooks
-- KEYS  1 v:<id>
-- ARGV  1 now_ms  2 id  3 number of the lease  4 outcome: d delivered, r try again, x give up  5 word for people
--       6 ms until the next attempt
-- Returns {outcome, now}: ok, or late when another attempt has begun or ended it.  Who delivered it has, however late.
-- Time in ms.  Cost O(log queued).  Slot: the phone's shard.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])
local v = redis.call('HMGET', KEYS[1], 'c', 'hn')
if not v[1] then return {'late', now} end
local queue = P .. 'hook:' .. v[1]
if ARGV[4] == 'd' then
  -- Another worker may have given it up meanwhile.
  local died = redis.call('ZREM', P .. 'dead:' .. v[1], id)
  if redis.call('ZREM', queue, id) + died == 0 then return {'late', now} end
  if died == 1 then age(P, id, TOMBSTONE_MS) end
  redis.call('HDEL', KEYS[1], 'ha', 'hs')
  return {'ok', now}
end
if not redis.call('ZSCORE', queue, id) then return {'late', now} end
if v[2] ~= ARGV[3] then return {'late', now} end
-- The lease is over: the same call made twice counts once.
redis.call('HINCRBY', KEYS[1], 'hn', 1)
redis.call('HINCRBY', KEYS[1], 'ha', 1)
if ARGV[4] == 'x' then
  give_up(P, v[1], id, ARGV[5], now)
  return {'ok', now}
end
redis.call('HSET', KEYS[1], 'hs', ARGV[5])
hook(P, v[1], id, now + tonumber(ARGV[6]))
keep_for(KEYS[1], tonumber(ARGV[6]) + TOMBSTONE_MS)
keep_for(P .. 'w:' .. id, tonumber(ARGV[6]) + TOMBSTONE_MS)
return {'ok', now}
