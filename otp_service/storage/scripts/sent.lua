-- Records what a gateway said of one SMS.
--
-- @use _clock _verification _limits
-- KEYS  1 v:<id>  2 sms stream
-- ARGV  1 now_ms  2 id  3 send number  4 stream entry  5 group
--       6 outcome: a accepted, f refused by every gateway, r try again  7 "1" when it may have reached a gateway
--       8 ms until the next try
-- Returns {now, 1 when this call finished the entry}.  A refund removes the log's entry: a second one does nothing.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now, id, number, outcome = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[6]
local P = prefix(KEYS[1])
local v = load(P, id)
if v.s then
  if ARGV[7] == '1' then
    redis.call('HSET', KEYS[1], 'mb', number)
    v.mb = number
  end
  if outcome == 'a' then
    redis.call('HSET', KEYS[1], 'ac', 1)
    if v.n == number and v.y ~= 'd' then redis.call('HSET', KEYS[1], 'y', 's') end
  elseif outcome == 'f' then
    if v.mb ~= number then
      refund_send(P, P .. 'p:' .. v.h, id, number)
      if v.s == 'p' and v.n == number then redis.call('HSET', KEYS[1], 'ra', now) end
    end
    if v.n == number and v.y == 'q' then redis.call('HSET', KEYS[1], 'y', 'f') end
  elseif v.s == 'p' then
    redis.call('HSET', KEYS[1], 'L', number .. ',' .. (now + tonumber(ARGV[8])))
    return {now, 0}
  end
end
redis.call('XACK', KEYS[2], ARGV[5], ARGV[4])
return {now, redis.call('XDEL', KEYS[2], ARGV[4])}
