-- Spends the limits of one ownership check, before any source is asked.  The entry's id is the verification's, so that
-- asking again costs nothing; refused, the verification ends `ownership_unavailable`.
--
-- @use _clock _verification _limits
-- KEYS  1 v:<id>  2… log of the ID number, current name first
-- ARGV  1 now_ms  2 id  3 phone: count, period ms, enforce  6 ID number: count, period ms, enforce
-- Returns {outcome, now, record, answers, sealed extra or "", 1 when this call ended it}; outcome is go, refused, settled or not_found.
-- Time in ms.  Cost O(checks in a day).  Slot: the phone's shard; the ID number's log joins on a single server.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])
local v = meet(P, id, '', now)
if not v then return {'not_found', now, {}, {}, ''} end
if v.s ~= 'o' then return {'settled', now, record(P, id), {}, '', v.ended or 0} end

for at = 3, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 1 and redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('RENAME', KEYS[at], KEYS[2])
  end
end
local phone, checks = P .. 'p:' .. v.h, {}
local fields = pairs_of(redis.call('HGETALL', phone))
for field, value in pairs(fields) do
  if string.sub(field, 1, 2) == 'o:' and field ~= 'o:' .. id then checks[#checks + 1] = tonumber(value) end
end
local of_id, logged = {}, redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for at = 1, #logged, 2 do
  if logged[at] ~= id then of_id[#of_id + 1] = tonumber(logged[at + 1]) end
end
local answers = {
  cap(checks, now, ARGV[3], ARGV[4], ARGV[5]),
  cap(of_id, now, ARGV[6], ARGV[7], ARGV[8]),
}
if refused(answers) then
  finish(P, id, v, 'r', 'u', now)
  return {'refused', now, record(P, id), flat(answers), '', 1}
end
for field, value in pairs(fields) do
  if string.sub(field, 1, 2) == 'o:' and tonumber(value) <= now - DAY_MS then redis.call('HDEL', phone, field) end
end
redis.call('HSET', phone, 'o:' .. id, now)
keep_phone(phone, fields.f)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[7]))
redis.call('ZADD', KEYS[2], now, id)
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[7]) + 3600000)
return {'go', now, record(P, id), flat(answers), redis.call('GET', P .. 'x:' .. id) or ''}
