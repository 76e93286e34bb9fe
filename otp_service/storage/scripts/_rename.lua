-- Shared: index names under a rotated key.  `names` holds the current name's key, then older ones.
-- A process with another view of "current" renames back: both know both names, nothing is lost in between.

local function rename_phone(P, names)
  for at = 2, #names do
    if redis.call('EXISTS', names[at]) == 1 and redis.call('EXISTS', names[1]) == 0 then
      redis.call('RENAME', names[at], names[1])
      local name = string.sub(names[1], 13)
      local fields = redis.call('HGETALL', names[1])
      for field = 1, #fields, 2 do
        if string.sub(fields[field], 1, 2) == 'l:' then
          local key = P .. 'v:' .. fields[field + 1]
          if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'h', name) end
        end
      end
    end
  end
end
