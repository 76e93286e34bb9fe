-- Shared: the verification's record `v:<id>` and how it ends.
--
-- Fields (short, because a million of them stand in memory):
--   s status   p pending, o checking_ownership; final: v verified, r rejected, e expired, l locked, c cancelled,
--              u undeliverable                       q reason  m sim_not_owned, n subscriber_unknown,
--                                                              u ownership_unavailable, k risk
--   c client ("~" behind a test key's)   u purpose   l locale   r reference   h name of the phone's hash   G send group
--   P sealed phone   I sealed ID numbers   i digest of the ID number   a address block
--   b created  e expires  x code expires  f finished (ms)   ra resend possible from (ms)
--   n send number   k sends that count   S sends allowed   g guesses made   m guesses allowed
--   cm code validity (ms)   cl digits of a code
--   d digest of the code   D digest of the code before it, good until X
--   y delivery q queued, s sent, d delivered, f failed   ac a gateway took one   mb the last send that may have been taken
--   L lease of the send in hand "<send number>,<until ms>,<holder>,<1 while a gateway may be asked>"
--   ln highest send number ever leased   gw "<send number>,<gateway that took it>"
--   o ownership is checked   A assisted   ot time for ownership (ms)   od inline deadline + 2 s (ms)
--   w ownership m match, x mismatch, n not_available, e error   ws source  wa assurance  wt checked at
--   wl ownership deadline (ms)   wn asks without an answer   sw 1 the SIM was changed lately
--   wx:<source> 1 a source that must not be asked twice was asked
--   bf ownership is asked before the code: w no code yet, i it was made   cn, cg consent: notice version, given at
--   z redeemed at (ms)   zz differences at redemption
--   H 1 its end is told by a webhook; from then on: ha attempts that failed   hn lease of the last attempt, a number
--   that only grows   hs what the last attempt came to
-- IMPORTANT: a new field also goes into storage/records.py, and into `finish` if a tombstone must not keep it.

local TOMBSTONE_MS = 4 * 24 * 3600 * 1000
-- Longer than a webhook can stand in its queue (see _webhooks.lua).
local HOOKS_MS = 8 * 24 * 3600 * 1000

local function live(v)
  return v.s == 'p' or v.s == 'o'
end

-- When the present status runs out.
local function deadline(v)
  if v.s == 'o' then return tonumber(v.wl) end
  return tonumber(v.e)
end

-- What a live verification has become by its deadline: status, reason.
local function overdue(v)
  if v.s == 'o' then
    if v.w == 'n' then return 'r', 'n' end
    return 'r', 'u'
  end
  -- A gateway that is being asked right now may take it.
  if v.ac or v.mb or string.match(v.L or '', ',1$') then return 'e' end
  return 'u'
end

-- Queues the webhook of a final verification, in the queue of its client and shard: nobody stands behind another
-- client's receiver.
local function hook(P, tenant, id, at)
  local queue = P .. 'hook:' .. tenant
  redis.call('ZADD', queue, at, id)
  redis.call('PEXPIRE', queue, HOOKS_MS)
end

-- Ends a verification and shrinks it to a tombstone: the sealed ID numbers and every code digest go.
-- `v.ended` tells the caller that this very call ended it: such an end is counted once.
local function finish(P, id, v, status, reason, now)
  local key = P .. 'v:' .. id
  redis.call('HSET', key, 's', status, 'f', now)
  if reason then redis.call('HSET', key, 'q', reason) end
  redis.call('HDEL', key, 'I', 'd', 'D', 'X', 'L', 'a', 'ra', 'cm', 'ot', 'od', 'wn')
  -- The place of the first SMS, which was never sent (see `send_id` in _limits.lua).
  if v.bf == 'w' then redis.call('HDEL', P .. 'p:' .. v.h, 's:' .. id .. ':1') end
  redis.call('PEXPIRE', key, TOMBSTONE_MS)
  redis.call('PEXPIRE', P .. 'w:' .. id, TOMBSTONE_MS)
  if v.H then hook(P, v.c, id, now) end
  redis.call('DEL', P .. 'x:' .. id)
  redis.call('ZREM', P .. 'due', id)
  if v.s == 'o' then redis.call('ZREM', P .. 'ask', id) end
  local phone, field = P .. 'p:' .. v.h, 'l:' .. v.c .. ':' .. v.u
  if redis.call('HGET', phone, field) == id then redis.call('HDEL', phone, field) end
  v.s, v.q, v.ended = status, reason, 1
end

-- Loads a record for a caller, as a table and as it was read; nil when there is none or it is another client's.
-- A mutating call that meets a deadline makes the final transition first.
local function meet(P, id, client, now)
  local as_read = redis.call('HGETALL', P .. 'v:' .. id)
  local v = pairs_of(as_read)
  if not v.s or (client ~= '' and v.c ~= client) then return nil end
  if live(v) and now >= deadline(v) then
    local status, reason = overdue(v)
    finish(P, id, v, status, reason, now)
  end
  return v, as_read
end

-- Loads a record without regard to deadlines; an empty table when there is none.
local function load(P, id)
  return pairs_of(redis.call('HGETALL', P .. 'v:' .. id))
end

-- A flat copy of the record, as it stands now.
local function record(P, id)
  return redis.call('HGETALL', P .. 'v:' .. id)
end
