-- Redeems a verdict, once.
--
-- @use _clock _verification _replay
-- KEYS  1 v:<id>  2 replay record or ""
-- ARGV  1 now_ms  2 id  3 client  4 nonce  5 body digest or ""  6 digest of the expected ID number or ""
--       7 "1" when the expected phone is the token's  8 when the token expires (ms)
-- Returns {outcome, now, record}; outcome is ok, replay, reused, not_found, expired, not_verified, id_required,
-- already, mismatch.  Three differences void the verdict for good.
-- Time in ms.  Cost O(fields).  Slot: the phone's shard.
local now, id = clock(ARGV[1]), ARGV[2]
local P = prefix(KEYS[1])
local v = load(P, id)
if v.c ~= ARGV[3] then return {'not_found', now, {}} end
local kept, other = replayed(KEYS[2], ARGV[5])
if other then return {'reused', now, {}} end
local before = seen(P, ARGV[4])
if kept or before == 'ok' then return {'replay', now, record(P, id)} end
if before then return {'mismatch', now, record(P, id)} end
if now >= tonumber(ARGV[8]) then return {'expired', now, {}} end
if v.s ~= 'v' then return {'not_verified', now, record(P, id)} end
if v.z then return {'already', now, record(P, id)} end
if tonumber(v.zz or 0) >= 3 then return {'mismatch', now, record(P, id)} end
if v.o and ARGV[6] == '' then return {'id_required', now, record(P, id)} end
if ARGV[7] ~= '1' or (ARGV[6] ~= '' and ARGV[6] ~= v.i) then
  redis.call('HINCRBY', KEYS[1], 'zz', 1)
  remember(P, ARGV[4], 'mismatch')
  return {'mismatch', now, record(P, id)}
end
redis.call('HSET', KEYS[1], 'z', now)
remember(P, ARGV[4], 'ok')
keep(KEYS[2], ARGV[5], id)
return {'ok', now, record(P, id)}
