-- Records what a gateway said of one SMS.
--
-- @use _clock _verification _limits _delivery
-- KEYS  1 v:<id>  2 sms stream
--       3 message at the gateway or "" (no provider id)  4 its early reports  5 its polls or "" (not polled)
-- ARGV  1 now_ms  2 id  3 send number  4 stream entry  5 group
--       6 outcome: a accepted, f refused by every gateway, r try again  7 "1" when it may have reached a gateway
--       8 ms until the next try  9 holder of the lease  10 delivery known at once (s, d, f) or ""
--       11 provider id  12 ms until its delivery is first asked for  13 name of the gateway that took it
-- Returns {now, 1 when this call finished the entry}.  A refund removes the log's entry: a second one does nothing.
-- Who lost the lease to another holder, or to the lease of a newer send, may tell what was accepted or may have been
-- sent; whether to give up or to pause is no longer theirs to say.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard; the gateway's keys join on a single server.
local MESSAGE_MS = 24 * 3600 * 1000
local now, id, number, outcome = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[6]
local P = prefix(KEYS[1])

-- What the provider told of this message before it answered the hand-over.
local function early()
  for _, state in ipairs({'d', 'f', 's'}) do
    if redis.call('ZREM', KEYS[4], state .. ARGV[11]) == 1 then return state end
  end
end

local v = load(P, id)
if v.s then
  if ARGV[7] == '1' and tonumber(number) > tonumber(v.mb or 0) then
    redis.call('HSET', KEYS[1], 'mb', number)
    v.mb = number
  end
  local leased, holder = string.match(v.L or '', '^(%d+),%d+,([^,]*),')
  if outcome ~= 'a' and leased == number and holder ~= ARGV[9] then return {now, 0} end
  if outcome == 'r' and leased and tonumber(leased) > tonumber(number) then return {now, 0} end
  -- Who finishes asks nobody any more.
  if outcome ~= 'r' and leased == number and holder == ARGV[9] then redis.call('HDEL', KEYS[1], 'L') end
  if outcome == 'a' then
    redis.call('HSET', KEYS[1], 'ac', 1)
    if v.n == number then redis.call('HSET', KEYS[1], 'gw', number .. ',' .. ARGV[13]) end
    deliver(KEYS[1], v, number, 's')
    local state = ARGV[10]
    if KEYS[3] ~= '' then
      redis.call('SET', KEYS[3], id .. ',' .. number .. ',' .. now, 'PX', MESSAGE_MS)
      state = early() or state
      if KEYS[5] ~= '' and state ~= 'd' and state ~= 'f' then
        redis.call('ZADD', KEYS[5], now + tonumber(ARGV[12]), ARGV[11])
        redis.call('PEXPIRE', KEYS[5], MESSAGE_MS)
      end
    end
    if state ~= '' then deliver(KEYS[1], v, number, state) end
  elseif outcome == 'f' then
    if tonumber(v.mb or 0) < tonumber(number) then
      refund_send(P, P .. 'p:' .. v.h, id, number)
      if v.s == 'p' and v.n == number then redis.call('HSET', KEYS[1], 'ra', now) end
    end
    if v.n == number and v.y == 'q' then redis.call('HSET', KEYS[1], 'y', 'f') end
  elseif v.s == 'p' then
    redis.call('HSET', KEYS[1], 'L', number .. ',' .. (now + tonumber(ARGV[8])) .. ',' .. ARGV[9] .. ',0')
    return {now, 0}
  end
end
redis.call('XACK', KEYS[2], ARGV[5], ARGV[4])
return {now, redis.call('XDEL', KEYS[2], ARGV[4])}
