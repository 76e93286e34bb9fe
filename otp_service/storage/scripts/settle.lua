-- Settles an ownership check: compare-and-set on `checking_ownership`.
--
-- @use _clock _verification _replay _limits
-- KEYS  1 v:<id>  2 replay record or ""  3… logs of the ID numbers, every name
-- ARGV  1 now_ms  2 id  3 outcome m, x, n, e, or k (a match that the purpose refuses as a risk)  4 source
--       5 assurance or ""  6 ms until the next try after an error  7 ms that the source wants to be left alone, or 0
--       8 "1" when the SIM was changed lately, else ""  9 nonce of an official's call, else ""  10 its body digest or ""
--       11 digest of the first code  12 cooldown ms  13 enforce                         [where no code was made yet]
--       14 queue cap
-- Returns {outcome, now, record, 1 when this call ended it}; outcome is ok (settled now), waits (asked again later),
-- settled (was before); of an official's call also replay, reused, or refused (the sources are still being asked).
-- A refund removes the entries by the verification's id, so that a second one does nothing.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard; the ID number's log joins on a single server.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])
local v = meet(P, id, '', now)
local outcome, attested = ARGV[3], ARGV[9] ~= ''

if attested and v then
  local kept, other = replayed(KEYS[2], ARGV[10])
  if other then return {'reused', now, record(P, id)} end
  if kept or seen(P, ARGV[9]) then return {'replay', now, record(P, id)} end
end

-- A question that was not answered is given back, also when the verification ended meanwhile.  Where it is asked before
-- the code, "unknown" stays spent as a mismatch does: nobody is to tell the two by what a day has left.
if v and not attested and not (v.bf and outcome == 'n') and v.w ~= 'm' and v.w ~= 'x' and (outcome == 'n' or outcome == 'e') then
  redis.call('HDEL', P .. 'p:' .. v.h, 'o:' .. id)
  for at = 3, #KEYS do redis.call('ZREM', KEYS[at], id) end
end
if not v or v.s ~= 'o' then return {'settled', now, record(P, id), v and v.ended or 0} end
if attested then
  if v.w ~= 'n' and v.w ~= 'e' then return {'refused', now, record(P, id)} end
  remember(P, ARGV[9], 'ok')
  keep(KEYS[2], ARGV[10], id)
  if outcome ~= 'm' and outcome ~= 'x' then return {'waits', now, record(P, id)} end
end

-- Makes the first code and queues its SMS; returns how long that has to wait.
local function send_code()
  local phone, mine = P .. 'p:' .. v.h, send_id(id, 1)
  local sends = entries(redis.call('HGETALL', phone))
  local wait = redis.call('XLEN', P .. 'sms') >= tonumber(ARGV[14]) and tonumber(ARGV[6]) or 0
  for _, send in ipairs(sends) do
    -- Others may have got an SMS while this one's place was held.
    if send.field ~= mine and ARGV[13] == '1' then wait = math.max(wait, send.time + tonumber(ARGV[12]) - now) end
  end
  if wait > 0 then return wait end
  redis.call('HSET', phone, mine, now .. ',' .. (v.a or '') .. ',' .. v.G .. ',0')
  keep_phone(phone, redis.call('HEXISTS', phone, 'f') == 1)
  redis.call('HSET', KEYS[1], 's', 'p', 'bf', 'i', 'n', 1, 'd', ARGV[11], 'ra', now + tonumber(ARGV[12]),
    'x', math.min(now + tonumber(v.cm), tonumber(v.e)))
  redis.call('HDEL', KEYS[1], 'ot', 'od', 'wl', 'wn')
  redis.call('ZREM', P .. 'ask', id)
  redis.call('ZADD', P .. 'due', v.e, id)
  redis.call('XADD', P .. 'sms', '*', 'v', id, 'n', 1)
  return 0
end

local shown = outcome == 'k' and 'm' or outcome
redis.call('HSET', KEYS[1], 'w', shown, 'ws', ARGV[4], 'wa', ARGV[5], 'wt', now)
if ARGV[8] == '1' then redis.call('HSET', KEYS[1], 'sw', 1) end
v.w = shown
if outcome == 'm' and v.bf == 'w' then
  local wait = send_code()
  if wait == 0 then return {'ok', now, record(P, id)} end
  redis.call('ZADD', P .. 'ask', math.min(now + wait, tonumber(v.wl)), id)
  return {'waits', now, record(P, id)}
end
if outcome == 'm' then
  finish(P, id, v, 'v', nil, now)
  return {'ok', now, record(P, id), 1}
end
if outcome == 'x' or outcome == 'k' then
  finish(P, id, v, 'r', outcome == 'k' and 'k' or 'm', now)
  return {'ok', now, record(P, id), 1}
end
if outcome == 'n' then
  if not v.A then
    finish(P, id, v, 'r', 'n', now)
    return {'ok', now, record(P, id), 1}
  end
  redis.call('ZREM', P .. 'ask', id)
  return {'waits', now, record(P, id)}
end
local asks = redis.call('HINCRBY', KEYS[1], 'wn', 1)
local wait = math.max(tonumber(ARGV[6]) * 2 ^ math.min(asks - 1, 4), tonumber(ARGV[7]))
redis.call('ZADD', P .. 'ask', math.min(now + wait, tonumber(v.wl)), id)
return {'waits', now, record(P, id)}
