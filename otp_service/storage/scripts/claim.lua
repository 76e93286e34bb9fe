-- Claims one queued SMS before a gateway is asked: refuses what must no longer be sent, leases the rest.
--
-- @use _clock _verification _limits
-- KEYS  1 v:<id>  2 sms stream
-- ARGV  1 now_ms  2 id  3 send number  4 stream entry  5 group  6 lease ms
-- Returns {outcome, now, record, number}; outcome is send (number: ms the code stays valid), wait (number: ms until the
-- lease in force ends), skip (superseded, final, expired or gone: the entry is finished, what was never sent is
-- refunded), or done (another worker has finished the entry).
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now, id, number = clock(ARGV[1]), ARGV[2], ARGV[3]
local P = prefix(KEYS[1])
if #redis.call('XRANGE', KEYS[2], ARGV[4], ARGV[4]) == 0 then return {'done', now, {}, 0} end
local v = load(P, id)
local valid = v.s == 'p' and v.n == number and now < tonumber(v.x)
if not valid then
  if v.s then
    if tonumber(number) > tonumber(v.ln or 0) then
      refund_send(P, P .. 'p:' .. v.h, id, number)
      if v.n == number and v.y == 'q' then redis.call('HSET', KEYS[1], 'y', 'f') end
    end
  end
  redis.call('XACK', KEYS[2], ARGV[5], ARGV[4])
  redis.call('XDEL', KEYS[2], ARGV[4])
  return {'skip', now, record(P, id), 0}
end
if v.L then
  local leased, until_ms = string.match(v.L, '^(%d+),(%d+)$')
  if leased == number and tonumber(until_ms) > now then
    return {'wait', now, {}, tonumber(until_ms) - now}
  end
end
redis.call('HSET', KEYS[1], 'L', number .. ',' .. (now + tonumber(ARGV[6])),
  'ln', math.max(tonumber(number), tonumber(v.ln or 0)))
return {'send', now, record(P, id), tonumber(v.x) - now}
