-- Spends one question to an ownership source, before it is asked: at most once about a verification where it must not be
-- asked twice, and within its budget.
--
-- @use _clock _replay
-- KEYS  1 v:<id>  2 budget of the source or ""
-- ARGV  1 now_ms  2 nonce  3 the source when it must not be asked twice, else ""  4 budget: count, period ms
-- Returns {outcome, now, ms until the budget begins anew}; outcome is ok, asked_before or over_budget.
--
-- The budget is "<began>,<spent>": periods follow each other from a midnight in Vietnam on.  The nonce keeps which
-- period was charged, so that a repeated call spends nothing (Invariant 11); a crash before the question is asked leaves
-- one question too many spent, never one too few.
-- Time in ms.  Cost O(1).  Slot: the phone's shard; the budget joins on a single server.
local VIETNAM_MS, SPARE_MS = 7 * 3600000, 3600000
local now = clock(ARGV[1])
local P = prefix(KEYS[1])
if seen(P, ARGV[2]) then return {'ok', now, 0} end
local mark = 'wx:' .. ARGV[3]
if ARGV[3] ~= '' and redis.call('HEXISTS', KEYS[1], mark) == 1 then return {'asked_before', now, 0} end
local began, spent, left = 0, 0, 0
if KEYS[2] ~= '' then
  local period = tonumber(ARGV[5])
  began = math.floor((now + VIETNAM_MS) / period) * period - VIETNAM_MS
  left = began + period - now
  local at, count = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+),(%d+)$')
  -- A clock that was set back does not give a spent budget back.
  if at and tonumber(at) >= began then began, spent = tonumber(at), tonumber(count) end
  if spent >= tonumber(ARGV[4]) then return {'over_budget', now, left} end
end
-- What is not about a verification, or about one that is gone, has nothing to remember it.
if ARGV[3] ~= '' and redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], mark, 1) end
if KEYS[2] ~= '' then
  redis.call('SET', KEYS[2], string.format('%d,%d', began, spent + 1), 'PX', left + SPARE_MS)
end
remember(P, ARGV[2], string.format('%d', began))
return {'ok', now, 0}
