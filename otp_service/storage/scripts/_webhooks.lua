-- Shared: webhooks that are given up.
--   hook:<tenant>  zset of the verifications whose end is to be told, by when; the end of its lease while one is told
--   dead:<tenant>  zset of those given up, by when that was; 10 000 at most, of which the oldest go
-- Both are of one shard.  Death keeps the verification and its address for as long, so that it can still be told.

local DEAD_MS = 14 * 24 * 3600 * 1000
local DEAD_MAX = 10000

-- Makes a key live for so long at least.
local function keep_for(key, ms)
  local left = redis.call('PTTL', key)
  if left >= 0 and left < ms then redis.call('PEXPIRE', key, ms) end
end

-- Lets a verification and its address live for so long at most.
local function age(P, id, ms)
  for _, key in ipairs({P .. 'v:' .. id, P .. 'w:' .. id}) do
    if redis.call('PTTL', key) > ms then redis.call('PEXPIRE', key, ms) end
  end
end

local function give_up(P, tenant, id, word, now)
  local dead = P .. 'dead:' .. tenant
  redis.call('ZREM', P .. 'hook:' .. tenant, id)
  redis.call('HSET', P .. 'v:' .. id, 'hs', word)
  redis.call('ZADD', dead, now, id)
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - DEAD_MS)
  -- What is cut can no longer be told: it goes when it would have gone without its death.
  for _, cut in ipairs(redis.call('ZRANGE', dead, 0, -DEAD_MAX - 1)) do
    local finished = tonumber(redis.call('HGET', P .. 'v:' .. cut, 'f') or 0)
    redis.call('ZREM', dead, cut)
    age(P, cut, math.max(1, finished + TOMBSTONE_MS - now))
  end
  redis.call('PEXPIRE', dead, DEAD_MS)
  keep_for(P .. 'v:' .. id, DEAD_MS)
  keep_for(P .. 'w:' .. id, DEAD_MS)
end

-- Shows webhooks, found by id and score: id, status, score, attempts that failed, word of the last one or "", …
local function shown(P, now, found)
  local out = {now}
  for at = 1, #found, 2 do
    local v = redis.call('HMGET', P .. 'v:' .. found[at], 's', 'ha', 'hs')
    if v[1] then
      for _, value in ipairs({found[at], v[1], found[at + 1], v[2] or 0, v[3] or ''}) do out[#out + 1] = value end
    end
  end
  return out
end
