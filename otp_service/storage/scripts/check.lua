-- Evaluates one guess.
--
-- @use _clock _verification _replay _limits
-- KEYS  1 v:<id>  2 replay record or ""  3 address rate or ""
-- ARGV  1 now_ms  2 id  3 client  4 nonce  5 body digest or ""  6 digest of the guess
--       7 how many digits it has  8… rate of the address (emission ms, tolerance ms, enforce)
-- Returns {outcome, now, record, number, answers, status, 1 when this call ended it}:
--   ok, replay, not_found, reused, final (also while ownership is being checked), locked, expired;
--   malformed (another length than the code's: it is no guess);
--   wrong (number: attempts left), locked_now, too_soon (number: ms to wait), refused (by the address's rate).
-- With ok the record is as it was read before, and `status` is what it has become.
-- What needs no more than the purpose (u), send number (n) and start (b) gets only those of the record.
-- Time in ms.  Cost O(fields of the record).  Slot: the phone's shard; rate and replay join on a single server.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])

local v, as_read = meet(P, id, ARGV[3], now)
if not v then return {'not_found', now, {}, 0, {}} end
local brief = {'u', v.u, 'n', v.n, 'b', v.b}
local kept, other = replayed(KEYS[2], ARGV[5])
if other then return {'reused', now, {}, 0, {}} end
if kept then return {'replay', now, record(P, id), 0, {}} end
local before = seen(P, ARGV[4])
if before == 'ok' then return {'replay', now, record(P, id), 0, {}} end
if before == 'locked_now' then return {'locked_now', now, brief, 0, {}} end
if before then return {'wrong', now, brief, tonumber(before), {}} end
if v.s == 'l' then return {'locked', now, brief, 0, {}} end
if v.s ~= 'p' then return {'final', now, record(P, id), 0, {}, '', v.ended or 0} end
if now >= tonumber(v.x) then return {'expired', now, record(P, id), 0, {}} end
if ARGV[7] ~= v.cl then return {'malformed', now, brief, 0, {}} end

local phone = P .. 'p:' .. v.h
local found = redis.call('HMGET', phone, 'f', 'ft')
local count, last = failures({f = found[1], ft = found[2]}, now)
local wait = guess_wait(count, last, now)
if wait > 0 then return {'too_soon', now, brief, wait, {}} end
local answers, arrival = {}, nil
if KEYS[3] ~= '' then
  answers[1], arrival = rate(KEYS[3], now, ARGV[8], ARGV[9], ARGV[10])
  if refused(answers) then return {'refused', now, brief, 0, flat(answers)} end
  spend_rate(KEYS[3], now, arrival)
end

if ARGV[6] ~= v.d and not (v.D and now < tonumber(v.X) and ARGV[6] == v.D) then
  local guesses = redis.call('HINCRBY', KEYS[1], 'g', 1)
  -- A count that starts again takes no old shares along.
  if count == 0 then forget_failures(phone, pairs_of(redis.call('HGETALL', phone))) end
  redis.call('HSET', phone, 'f', count + 1, 'ft', now)
  if v.a and v.a ~= '' then
    local field = 'b:' .. v.a
    local near = block_failures({[field] = redis.call('HGET', phone, field)}, v.a, now)
    redis.call('HSET', phone, field, near + 1 .. ',' .. now)
  end
  keep_phone(phone, true)
  local left = tonumber(v.m) - guesses
  if left > 0 then
    remember(P, ARGV[4], left)
    return {'wrong', now, brief, left, flat(answers)}
  end
  finish(P, id, v, 'l', nil, now)
  remember(P, ARGV[4], 'locked_now')
  return {'locked_now', now, brief, 0, flat(answers)}
end

-- Possession is proven: the phone's failures are forgotten, and its sends no longer count as unanswered.
local sends, fields = entries(redis.call('HGETALL', phone))
if fields.f then forget_failures(phone, fields) end
for _, send in ipairs(sends) do
  if send.group == v.G and not send.ok then
    redis.call('HSET', phone, send.field, send.time .. ',' .. send.block .. ',' .. send.group .. ',1')
  end
end
if #sends > 0 then keep_phone(phone, false) end
if v.o and not v.bf then
  local until_ms = v.A and tonumber(v.e) or math.min(now + tonumber(v.ot), tonumber(v.e))
  redis.call('HSET', KEYS[1], 's', 'o', 'wl', until_ms, 'wn', 0)
  redis.call('HDEL', KEYS[1], 'd', 'D', 'X', 'ra')
  v.s = 'o'
  redis.call('ZADD', P .. 'due', until_ms, id)
  redis.call('ZADD', P .. 'ask', now + tonumber(v.od), id)
else
  finish(P, id, v, 'v', nil, now)
end
remember(P, ARGV[4], 'ok')
keep(KEYS[2], ARGV[5], id)
return {'ok', now, as_read, 0, flat(answers), v.s, v.ended or 0}
