-- Sends a new code for a verification: "Gửi lại OTP".
--
-- @use _clock _verification _replay _limits
-- KEYS  1 v:<id>  2 replay record or ""  3 address rate or ""  4 client rate  5 service rate
-- ARGV  1 now_ms  2 id  3 client  4 nonce  5 body digest or ""  6 the send number the caller made a code for
--       7 digest of that code  8 grace ms of the code before  9 queue cap  10 address block of a browser or ""
--       11… cooldown (ms, enforce), sends, block, total (count, period ms, enforce each),
--           failures of the block (count, enforce)                                                         [13 values]
--       24… rates of address, client, service (emission ms, tolerance ms, enforce each)                     [9 values]
-- Returns {outcome, now, record, answers, 1 when this call ended it}; outcome is ok, replay, reused, not_found, final, exhausted, refused, busy,
-- or stale (the send number has moved on: read again).
-- Time in ms.  Cost O(sends of the phone in a day).  Slot: the phone's shard; rates and replay as in start.lua.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])

local kept, other = replayed(KEYS[2], ARGV[5])
local v = meet(P, id, ARGV[3], now)
if not v then return {'not_found', now, {}, {}} end
if other then return {'reused', now, {}, {}} end
if kept or seen(P, ARGV[4]) then return {'replay', now, record(P, id), {}} end
if v.s ~= 'p' then return {'final', now, record(P, id), {}, v.ended or 0} end
if tonumber(v.k) >= tonumber(v.S) then return {'exhausted', now, record(P, id), {}} end

local phone = P .. 'p:' .. v.h
local sends, fields = entries(redis.call('HGETALL', phone))
local block = ARGV[10] ~= '' and ARGV[10] or (v.a or '')
if v.G == 'a' then block = '' end
local answers = phone_limits(sends, fields, now, v.G, block, ARGV, 11)
local address, address_at = {0, 0, 0}, nil
if KEYS[3] ~= '' then address, address_at = rate(KEYS[3], now, ARGV[24], ARGV[25], ARGV[26]) end
local client, client_at = rate(KEYS[4], now, ARGV[27], ARGV[28], ARGV[29])
local service, service_at = rate(KEYS[5], now, ARGV[30], ARGV[31], ARGV[32])
answers[7], answers[8], answers[9] = address, client, service
if refused(answers) then return {'refused', now, record(P, id), flat(answers)} end
if tonumber(v.n) + 1 ~= tonumber(ARGV[6]) then return {'stale', now, record(P, id), {}} end
if redis.call('XLEN', P .. 'sms') >= tonumber(ARGV[9]) then return {'busy', now, {}, {}} end

local number, grace = tonumber(ARGV[6]), tonumber(ARGV[8])
if grace > 0 and now < tonumber(v.x) then
  redis.call('HSET', KEYS[1], 'D', v.d, 'X', math.min(now + grace, tonumber(v.x)))
end
redis.call('HSET', KEYS[1], 'n', number, 'd', ARGV[7], 'x', math.min(now + tonumber(v.cm), tonumber(v.e)),
  'k', tonumber(v.k) + 1, 'y', 'q', 'ra', now + tonumber(ARGV[11]))
log_send(phone, sends, id, number, now, block, v.G, fields.f)
redis.call('XADD', P .. 'sms', '*', 'v', id, 'n', number)
if KEYS[3] ~= '' then spend_rate(KEYS[3], now, address_at) end
spend_rate(KEYS[4], now, client_at)
spend_rate(KEYS[5], now, service_at)
remember(P, ARGV[4], 'ok')
keep(KEYS[2], ARGV[5], id)
return {'ok', now, record(P, id), flat(answers)}
