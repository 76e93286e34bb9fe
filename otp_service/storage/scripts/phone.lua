-- Shows a phone's limits, and resets them when asked: an operator's tool.
--
-- @use _clock _verification _limits _rename
-- KEYS  1… phone hash, current name first
-- ARGV  1 now_ms  2 "1" to reset failures and the logs of sends and ownership checks
-- Returns {now, failures, ms until the next guess, sends in 24 h, live verifications}, as before the reset.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now = clock(ARGV[1])
local P = prefix(KEYS[1])
rename_phone(P, KEYS)
local sends, fields, live_ids = entries(redis.call('HGETALL', KEYS[1]))
local count, last = failures(fields, now)
local recent = 0
for _, send in ipairs(sends) do
  if send.time > now - DAY_MS then recent = recent + 1 end
end
if ARGV[2] == '1' then
  for field in pairs(fields) do
    local kind = string.sub(field, 1, 2)
    if kind == 's:' or kind == 'o:' then redis.call('HDEL', KEYS[1], field) end
  end
  forget_failures(KEYS[1], fields)
end
return {now, count, guess_wait(count, last, now), recent, #live_ids}
