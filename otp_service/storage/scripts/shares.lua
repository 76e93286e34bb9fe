-- Shifts traffic away from failing gateways and lets it drift back; every worker reports here and reads the same.
--
-- @use _clock
-- KEYS  1 shares
-- ARGV  1 now_ms  2… per gateway: name, answers that were well, answers that speak against it, the commonest reason of
--       those or "", "1" when the account itself is refused (no message can pass)
-- Returns {now, {share, …} in the order given, {name, from, to, reason, …} of the shifts that this call made}.
--
-- A gateway's field: "<share>,<well>,<failed>,<counted at>,<shifted at>".  The share is a percentage of its weight.
-- It is halved when at least 3 answers and 3 in 10 were failures (both fade with a half-life of 20 s), at most every
-- 5 s, down to 2, so that some messages still try it.  It goes there at once when the account is refused, 3 times and
-- with nothing well in between: what is refused to one number or worker must not take it from all.  Every 30 s without
-- a shift it drifts back by 10, traffic or none: otherwise what gets none would never come back.
-- Time in ms.  Cost O(gateways).  Slot: its own.
local HALF_LIFE_MS, FAILED, RATIO = 20000, 2.5, 0.3
local FLOOR, PATIENCE_MS, DRIFT_MS, DRIFT, KEPT_MS = 2, 5000, 30000, 10, 3600000
local now = clock(ARGV[1])
local shares, shifts = {}, {}
for at = 2, #ARGV, 5 do
  local name, reason = ARGV[at], ARGV[at + 3]
  local share, well, failed, counted, shifted = string.match(
    redis.call('HGET', KEYS[1], name) or '', '^(%d+),([%d.]+),([%d.]+),(%d+),(%d+)$')
  share, counted, shifted = tonumber(share or 100), tonumber(counted or now), tonumber(shifted or 0)
  local fade = 0.5 ^ (math.max(0, now - counted) / HALF_LIFE_MS)
  well = tonumber(well or 0) * fade + tonumber(ARGV[at + 1])
  failed = tonumber(failed or 0) * fade + tonumber(ARGV[at + 2])
  local was, why = share, nil
  local refused = ARGV[at + 4] == '1' and (share == FLOOR or failed >= FAILED and well < 1)
  if refused then
    share, why = FLOOR, reason
  elseif tonumber(ARGV[at + 2]) > 0 and failed >= FAILED and failed >= RATIO * (well + failed)
      and now - shifted >= PATIENCE_MS then
    share, why = math.max(FLOOR, math.floor(share / 2)), reason
  elseif share < 100 and now - shifted >= DRIFT_MS then
    share, why = math.min(100, share + DRIFT), 'drifts back'
  end
  if why then shifted = now end
  if share ~= was then
    if share < was then well, failed = 0, 0 end
    for _, value in ipairs({name, was, share, why}) do shifts[#shifts + 1] = value end
  end
  redis.call('HSET', KEYS[1], name, string.format('%d,%.2f,%.2f,%d,%d', share, well, failed, now, shifted))
  shares[#shares + 1] = share
end
redis.call('PEXPIRE', KEYS[1], KEPT_MS)
return {now, shares, shifts}
