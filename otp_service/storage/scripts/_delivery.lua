-- Shared: what is known of an SMS after a gateway took it.
--
-- A report is advisory (invariant 12): it changes `y` of the newest send and nothing else, so that whoever can forge
-- one gains nothing.  Reports come late, twice and out of order: only a better known state replaces another.

local KNOWN = {q = 0, s = 1, f = 2, d = 3}

-- Takes a report over into the record; 1 when it changed something.
local function deliver(key, v, number, state)
  if not v.s or v.n ~= number or KNOWN[state] <= KNOWN[v.y] then return 0 end
  redis.call('HSET', key, 'y', state)
  v.y = state
  return 1
end
