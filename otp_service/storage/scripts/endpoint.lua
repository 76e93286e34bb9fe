-- Where a client wants no more webhooks: asks, puts an address out of use for 30 days, or puts all of them in use again.
--
-- @use _clock
-- KEYS  1 otp:h:{<client>}:off, hash of digests of addresses, by when they are in use again (ms)
-- ARGV  1 now_ms  2 is, off or on  3 digest of the address, or ""
-- Returns {now, number}: of `is` 1 when it is out of use; of `off` 1 when it was not before; of `on` how many were.
-- A client has at most 100; of more the one that is back first goes.
-- Time in ms.  Cost O(addresses).  Slot: the client's.
local OFF_MS = 30 * 24 * 3600 * 1000
local MOST = 100
local now = clock(ARGV[1])
if ARGV[2] == 'is' then
  return {now, tonumber(redis.call('HGET', KEYS[1], ARGV[3]) or 0) > now and 1 or 0}
end
local first, count = nil, 0
local back = pairs_of(redis.call('HGETALL', KEYS[1]))
for digest, at in pairs(back) do
  if tonumber(at) > now then
    count = count + 1
    if not first or tonumber(at) < tonumber(back[first]) then first = digest end
  end
end
if ARGV[2] == 'on' then
  redis.call('DEL', KEYS[1])
  return {now, count}
end
local news = tonumber(back[ARGV[3]] or 0) <= now
for digest, at in pairs(back) do
  if tonumber(at) <= now then redis.call('HDEL', KEYS[1], digest) end
end
if news and count >= MOST then redis.call('HDEL', KEYS[1], first) end
redis.call('HSET', KEYS[1], ARGV[3], now + OFF_MS)
redis.call('PEXPIRE', KEYS[1], OFF_MS)
return {now, news and 1 or 0}
