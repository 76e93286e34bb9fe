-- Starts a verification: limits, record, log, deadline and queued SMS in one transition.  Where ownership is asked
-- before the code, no code is made and no SMS is queued: the place of the first one is held in the phone's log.
--
-- @use _clock _verification _replay _limits _rename
-- KEYS  1 v:<id>  2 replay record or ""  3 address rate or ""  4 client rate  5 service rate
--       6 the proof of work that is spent or ""  7, 8 rates of starts without proof or ""
--       9… phone hash, current name first
-- ARGV  1 now_ms  2 id (also the nonce)  3 client  4 purpose  5 send group  6 address block or ""  7 body digest or ""
--       8 life_ms  9 queue cap  10 sealed extra or ""
--       11… cooldown (ms, enforce), sends, block, total (count, period ms, enforce each),
--           failures of the block (count, enforce)                                                         [13 values]
--       24… rates of address, client, service (emission ms, tolerance ms, enforce each)                     [9 values]
--       33 code validity ms  34 ms that ownership may take when it is asked before the code, else ""
--       35 ms until the worker asks, if so  36 ms that a spent proof is kept  37 "p" when a proof opens rates 7 and 8, "x" when nothing does
--       38… those two rates (emission ms, tolerance ms, enforce each)                                       [6 values]
--       44 sealed links or ""  45… fields and values of the record
-- Returns {outcome, now, id, record (of a replay), answers, status the older live verification ended with or ""};
-- outcome is ok, replay, reused, refused, proof (a proof of work is needed, or was spent before) or busy.
-- Time in ms.  Cost O(sends of the phone in a day).  Slot: the phone's shard; the rates and the replay record join on a
-- single server.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])

if redis.call('EXISTS', KEYS[1]) == 1 then return {'replay', now, id, record(P, id), {}, ''} end
local kept, other = replayed(KEYS[2], ARGV[7])
if other then return {'reused', now, id, {}, {}, ''} end
if kept then return {'replay', now, kept, record(P, kept), {}, ''} end

local names = {}
for at = 9, #KEYS do names[#names + 1] = KEYS[at] end
rename_phone(P, names)
local phone = KEYS[9]
local sends, fields = entries(redis.call('HGETALL', phone))
local answers = phone_limits(sends, fields, now, ARGV[5], ARGV[6], ARGV, 11)
local address, client, service = {0, 0, 0}, nil, nil
local address_at, client_at, service_at
if KEYS[3] ~= '' then address, address_at = rate(KEYS[3], now, ARGV[24], ARGV[25], ARGV[26]) end
client, client_at = rate(KEYS[4], now, ARGV[27], ARGV[28], ARGV[29])
service, service_at = rate(KEYS[5], now, ARGV[30], ARGV[31], ARGV[32])
answers[7], answers[8], answers[9] = address, client, service
local gates = {}
for at = 1, 2 do
  if KEYS[6 + at] ~= '' then
    local from = 35 + 3 * at
    answers[9 + at], gates[at] = rate(KEYS[6 + at], now, ARGV[from], ARGV[from + 1], ARGV[from + 2])
  end
end
local shut = ARGV[37] == 'x' or ARGV[37] == 'p' and (refused({answers[10]}) or refused({answers[11]}))
if not shut and refused(answers) or refused({unpack(answers, 1, 9)}) then
  return {'refused', now, id, {}, flat(answers), ''}
end
if shut or KEYS[6] ~= '' and redis.call('EXISTS', KEYS[6]) == 1 then
  return {'proof', now, id, {}, flat(answers), ''}
end
if redis.call('XLEN', P .. 'sms') >= tonumber(ARGV[9]) then return {'busy', now, id, {}, {}, ''} end

-- Everything is read and allowed: from here on only writes.
local slot = 'l:' .. ARGV[3] .. ':' .. ARGV[4]
local older, ended = fields[slot], ''
if older then
  local v = meet(P, older, '', now)
  if v and live(v) then finish(P, older, v, 'c', nil, now) end
  if v and v.ended then ended = v.s end
end
local expires, before = now + tonumber(ARGV[8]), ARGV[34] ~= ''
redis.call('HSET', KEYS[1], 's', before and 'o' or 'p', 'c', ARGV[3], 'u', ARGV[4], 'G', ARGV[5],
  'h', string.sub(phone, 13), 'b', now, 'e', expires, 'n', before and 0 or 1, 'k', 1, 'g', 0, 'y', 'q', 'a', ARGV[6],
  'cm', ARGV[33], unpack(ARGV, 45))
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[8]) + TOMBSTONE_MS)
if ARGV[10] ~= '' then redis.call('SET', P .. 'x:' .. id, ARGV[10], 'PX', tonumber(ARGV[8]) + 3600000) end
if ARGV[44] ~= '' then redis.call('SET', P .. 'w:' .. id, ARGV[44], 'PX', tonumber(ARGV[8]) + TOMBSTONE_MS) end
redis.call('HSET', phone, slot, id)
log_send(phone, sends, id, 1, now, ARGV[6], ARGV[5], fields.f)
if before then
  local until_ms = math.min(now + tonumber(ARGV[34]), expires)
  redis.call('HSET', KEYS[1], 'bf', 'w', 'wl', until_ms, 'wn', 0)
  redis.call('ZADD', P .. 'due', until_ms, id)
  redis.call('ZADD', P .. 'ask', now + tonumber(ARGV[35]), id)
else
  redis.call('HSET', KEYS[1], 'ra', now + tonumber(ARGV[11]), 'x', now + tonumber(ARGV[33]))
  redis.call('ZADD', P .. 'due', expires, id)
  redis.call('XADD', P .. 'sms', '*', 'v', id, 'n', 1)
end
if KEYS[3] ~= '' then spend_rate(KEYS[3], now, address_at) end
spend_rate(KEYS[4], now, client_at)
spend_rate(KEYS[5], now, service_at)
for at = 1, 2 do
  if KEYS[6 + at] ~= '' then spend_rate(KEYS[6 + at], now, gates[at]) end
end
if KEYS[6] ~= '' then redis.call('SET', KEYS[6], 1, 'PX', ARGV[36]) end
keep(KEYS[2], ARGV[7], id)
return {'ok', now, id, {}, flat(answers), ended}
