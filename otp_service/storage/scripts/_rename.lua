-- Shared: index names under a rotated key.  `names` holds the current name's key, then older ones.
-- A process with another view of "current" renames back: both know both names, nothing is lost in between.

-- Tells every verification that the phone's hash still speaks of where that hash is now.
local function forward(P, key)
  local name, fields = string.sub(key, 13), redis.call('HGETALL', key)
  for at = 1, #fields, 2 do
    local kind = string.sub(fields[at], 1, 2)
    local id = kind == 'l:' and fields[at + 1] or string.match(fields[at], '^[so]:([^:]+)')
    if id and redis.call('EXISTS', P .. 'v:' .. id) == 1 then redis.call('HSET', P .. 'v:' .. id, 'h', name) end
  end
end

local function rename_phone(P, names)
  for at = 2, #names do
    if redis.call('EXISTS', names[at]) == 1 and redis.call('EXISTS', names[1]) == 0 then
      redis.call('RENAME', names[at], names[1])
      forward(P, names[1])
    end
  end
end
