-- Shared: calls that may be made twice.
--   nonce   `n:<nonce>`, 120 s: the compact outcome of a call that changed something (a lost reply between us and
--           the store).
--   replay  `otp:k:{<name>}`, 24 h: "<body digest, 16><verification id>" of a success (Idempotency-Key).

local NONCE_MS = 120 * 1000
local REPLAY_MS = 24 * 3600 * 1000

local function seen(P, nonce)
  return redis.call('GET', P .. 'n:' .. nonce)
end

local function remember(P, nonce, outcome)
  redis.call('SET', P .. 'n:' .. nonce, outcome, 'PX', NONCE_MS)
end

-- Returns the id a success was kept under, or nil and whether the key came with another body.
local function replayed(key, body)
  if body == '' then return nil, false end
  local kept = redis.call('GET', key)
  if not kept then return nil, false end
  if string.sub(kept, 1, 16) ~= body then return nil, true end
  return string.sub(kept, 17), false
end

local function keep(key, body, id)
  if body ~= '' then redis.call('SET', key, body .. id, 'PX', REPLAY_MS) end
end
