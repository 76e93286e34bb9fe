-- Spends the limits of one ownership check, before any source is asked.  The entry's id is the verification's, so that
-- asking again costs nothing; refused, the verification ends `ownership_unavailable`.
--
-- @use _clock _verification _limits
-- KEYS  1 v:<id>  2… logs of every ID number that is asked about, each under its current name first, then older ones
-- ARGV  1 now_ms  2 id  3 phone: count, period ms, enforce  6 ID number: count, period ms, enforce  9 names per number
-- Returns {outcome, now, record, answers, sealed extra or "", 1 when this call ended it}; outcome is go, refused, settled or not_found.
-- Time in ms.  Cost O(checks in a day).  Slot: the phone's shard; the ID number's log joins on a single server.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])
local v = meet(P, id, '', now)
if not v then return {'not_found', now, {}, {}, ''} end
if v.s ~= 'o' then return {'settled', now, record(P, id), {}, '', v.ended or 0} end
-- The answer is there, only its code could not be made yet: nothing is asked, nothing is spent.
if v.w == 'm' then return {'go', now, record(P, id), {}, redis.call('GET', P .. 'x:' .. id) or ''} end

local logs = {}
for first = 2, #KEYS, tonumber(ARGV[9]) do
  logs[#logs + 1] = KEYS[first]
  for at = first + 1, first + tonumber(ARGV[9]) - 1 do
    if redis.call('EXISTS', KEYS[at]) == 1 and redis.call('EXISTS', KEYS[first]) == 0 then
      redis.call('RENAME', KEYS[at], KEYS[first])
    end
  end
end
local phone, checks = P .. 'p:' .. v.h, {}
local fields = pairs_of(redis.call('HGETALL', phone))
for field, value in pairs(fields) do
  if string.sub(field, 1, 2) == 'o:' and field ~= 'o:' .. id then checks[#checks + 1] = tonumber(value) end
end
-- Of several numbers the one that was asked about most decides.
local answers = {cap(checks, now, ARGV[3], ARGV[4], ARGV[5])}
for _, log in ipairs(logs) do
  local of_id, logged = {}, redis.call('ZRANGE', log, 0, -1, 'WITHSCORES')
  for at = 1, #logged, 2 do
    if logged[at] ~= id then of_id[#of_id + 1] = tonumber(logged[at + 1]) end
  end
  local answer = cap(of_id, now, ARGV[6], ARGV[7], ARGV[8])
  if not answers[2] or answer[2] > answers[2][2] or answer[1] > answers[2][1] then answers[2] = answer end
end
if refused(answers) then
  finish(P, id, v, 'r', 'u', now)
  return {'refused', now, record(P, id), flat(answers), '', 1}
end
for field, value in pairs(fields) do
  if string.sub(field, 1, 2) == 'o:' and tonumber(value) <= now - DAY_MS then redis.call('HDEL', phone, field) end
end
redis.call('HSET', phone, 'o:' .. id, now)
keep_phone(phone, fields.f)
for _, log in ipairs(logs) do
  redis.call('ZREMRANGEBYSCORE', log, '-inf', now - tonumber(ARGV[7]))
  redis.call('ZADD', log, now, id)
  redis.call('PEXPIRE', log, tonumber(ARGV[7]) + 3600000)
end
return {'go', now, record(P, id), flat(answers), redis.call('GET', P .. 'x:' .. id) or ''}
