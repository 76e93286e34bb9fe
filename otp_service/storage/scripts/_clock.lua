-- Shared: the store's clock and the shard's key prefix.
-- Time unit: milliseconds since the epoch.

-- `arg` is "0" for the store's own clock; any other value comes from a test's constructor.
local function clock(arg)
  local now = tonumber(arg)
  if now ~= 0 then return now end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- "otp:{s07}:" of any key of a shard.
local function prefix(key)
  return string.sub(key, 1, 10)
end

-- A flat HGETALL reply as a table.
local function pairs_of(flat)
  local found = {}
  for at = 1, #flat, 2 do found[flat[at]] = flat[at + 1] end
  return found
end
