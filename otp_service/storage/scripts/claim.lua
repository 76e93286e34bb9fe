-- Claims one queued SMS before a gateway is asked: refuses what must no longer be sent, leases the rest.
--
-- @use _clock _verification _limits
-- KEYS  1 v:<id>  2 sms stream
-- ARGV  1 now_ms  2 id  3 send number  4 stream entry  5 group  6 lease ms  7 holder of the lease
--       8 "1" when an earlier attempt of this holder may have reached a gateway
-- Returns {outcome, now, record, number, 1 when this send was claimed before}; outcome is send (number: ms the code
-- stays valid), wait (number: ms until the lease in force ends), skip (superseded, final, expired or gone: the entry is
-- finished, what no gateway can have is refunded), or done (another worker has finished the entry).
-- A lease is "<send number>,<until>,<holder>,<1 while a gateway may be asked under it>": its holder renews it, and one
-- that ran out while a gateway was asked means that this gateway may have the SMS.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now, id, number = clock(ARGV[1]), ARGV[2], ARGV[3]
local P = prefix(KEYS[1])
if #redis.call('XRANGE', KEYS[2], ARGV[4], ARGV[4]) == 0 then return {'done', now, {}, 0} end
local v = load(P, id)
local leased, until_ms, holder, asking = string.match(v.L or '', '^(%d+),(%d+),([^,]*),(%d)$')
local mine = leased == number and holder == ARGV[7]
local valid = v.s == 'p' and v.n == number and now < tonumber(v.x)
if valid and leased == number and not mine and tonumber(until_ms) > now then
  return {'wait', now, {}, tonumber(until_ms) - now}
end
if v.s and tonumber(number) > tonumber(v.mb or 0)
    and (ARGV[8] == '1' or leased == number and not mine and asking == '1') then
  redis.call('HSET', KEYS[1], 'mb', number)
  v.mb = number
end
if not valid then
  -- A verification that has ended lost its leases: what was leased once may have been sent.
  local untouched = tonumber(number) > tonumber(v.ln or 0) or leased == number and tonumber(v.mb or 0) < tonumber(number)
  if v.s and untouched then
    refund_send(P, P .. 'p:' .. v.h, id, number)
    if v.n == number and v.y == 'q' then redis.call('HSET', KEYS[1], 'y', 'f') end
    if v.s == 'p' and v.n == number then redis.call('HSET', KEYS[1], 'ra', now) end
  end
  redis.call('XACK', KEYS[2], ARGV[5], ARGV[4])
  redis.call('XDEL', KEYS[2], ARGV[4])
  return {'skip', now, record(P, id), 0}
end
redis.call('HSET', KEYS[1], 'L', number .. ',' .. (now + tonumber(ARGV[6])) .. ',' .. ARGV[7] .. ',1',
  'ln', math.max(tonumber(number), tonumber(v.ln or 0)))
return {'send', now, record(P, id), tonumber(v.x) - now, tonumber(number) <= tonumber(v.ln or 0) and 1 or 0}
