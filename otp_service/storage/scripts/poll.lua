-- Tells which of many verifications of one shard are final; changes nothing.
--
-- @use _clock _verification
-- KEYS  v:<id>, any number of one shard
-- ARGV  1 now_ms
-- Returns one number per key: 1 final or gone, 0 live.
-- Time in ms.  Cost O(keys).  Slot: the phone's shard.
local now, out = clock(ARGV[1]), {}
for at, key in ipairs(KEYS) do
  local found = redis.call('HMGET', key, 's', 'e', 'wl')
  local v = {s = found[1], e = found[2], wl = found[3]}
  out[at] = (v.s and live(v) and now < deadline(v)) and 0 or 1
end
return out
