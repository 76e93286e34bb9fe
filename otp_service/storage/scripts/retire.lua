-- Removes consumers of the SMS queue that are gone, but never one with an entry in hand: its entries would be lost.
--
-- KEYS  1 sms stream
-- ARGV  1 group  2 a consumer that leaves, or ""  3 ms without a sign of life after which any other is gone
-- Returns how many were removed.
-- Time in ms.  Cost O(consumers).  Slot: the shard.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local groups, removed = redis.call('XINFO', 'GROUPS', KEYS[1]), 0
for _, group in ipairs(groups) do
  if group[2] == ARGV[1] then
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
      local name, pending, idle = consumer[2], consumer[4], consumer[6]
      if pending == 0 and (name == ARGV[2] or idle > tonumber(ARGV[3])) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
        removed = removed + 1
      end
    end
  end
end
return removed
