-- Shared: sliding logs in a phone's hash, and rates.
--
-- The phone's hash `p:<name>`:
--   s:<id>:<n>  "<ms>,<block>,<group>,<1 when a success followed>"   one SMS: verification and send number
--   o:<id>      "<ms>"                                                one ownership check
--   l:<client>:<purpose>  id of the live verification
--   f, ft       consecutive failures, and when the last was
--   b:<block>   "<failures>,<ms of the last>"                      those of verifications that one address block started
-- Every limit answers three numbers: state (0 allowed, 1 refused, 2 would refuse), how much is used, retry in ms.

local DAY_MS = 24 * 3600 * 1000
local FAILURES_MAX = 100
local FAILURES_FREE = 9
local FAILURES_MS = 30 * DAY_MS
local WAITS_MIN = {1, 2, 4, 8, 15}

-- The id of one send in the log.
local function send_id(id, number)
  return 's:' .. id .. ':' .. number
end

local function entries(phone)
  local sends, live_ids, fields = {}, {}, pairs_of(phone)
  for field, value in pairs(fields) do
    local kind = string.sub(field, 1, 2)
    if kind == 's:' then
      local time, block, group, ok = string.match(value, '^(%d+),([^,]*),([^,]*),(%d)$')
      sends[#sends + 1] = {field = field, time = tonumber(time), block = block, group = group, ok = ok == '1'}
    elseif kind == 'l:' then
      live_ids[#live_ids + 1] = value
    end
  end
  return sends, fields, live_ids
end

local function failures(fields, now)
  if not fields.f or now - tonumber(fields.ft) >= FAILURES_MS then return 0, 0 end
  return tonumber(fields.f), tonumber(fields.ft)
end

local function forget_failures(key, fields)
  redis.call('HDEL', key, 'f', 'ft')
  for field in pairs(fields) do
    if string.sub(field, 1, 2) == 'b:' then redis.call('HDEL', key, field) end
  end
end

-- How long until the next guess, in ms: 0 when it may be made now.
local function guess_wait(count, last, now)
  if count >= FAILURES_MAX then return last + FAILURES_MS - now end
  if count <= FAILURES_FREE then return 0 end
  local minutes = WAITS_MIN[math.min(count - FAILURES_FREE, #WAITS_MIN)]
  return math.max(0, last + minutes * 60000 - now)
end

local function verdict(refused, used, retry, enforce)
  if not refused then return {0, used, 0} end
  return {enforce == '1' and 1 or 2, used, math.ceil(retry)}
end

-- A cap: `times` of what counts, at most `count` in any `period` ms.
local function cap(times, now, count, period, enforce)
  count, period = tonumber(count), tonumber(period)
  local inside = {}
  for _, time in ipairs(times) do
    if time > now - period then inside[#inside + 1] = time end
  end
  if #inside < count then return verdict(false, #inside + 1, 0) end
  table.sort(inside)
  local frees = count > 0 and inside[#inside - count + 1] + period - now or period
  return verdict(true, #inside, frees, enforce)
end

-- The consecutive failures that verifications started from one address block have added, and when the last was.
local function block_failures(fields, block, now)
  local count, last = string.match(fields['b:' .. block] or '', '^(%d+),(%d+)$')
  if not count or now - tonumber(last) >= FAILURES_MS then return 0, 0 end
  return tonumber(count), tonumber(last)
end

-- The limits of one more SMS to a phone.  `argv[at…]`: cooldown (ms, enforce), then sends, block, total, each
-- (count, period, enforce), then failures of the block (count, enforce).  Returns six answers: failures, cooldown,
-- sends, block, total, failures of the block.
local function phone_limits(sends, fields, now, group, block, argv, at)
  local count, last = failures(fields, now)
  local blocked = count >= FAILURES_MAX
  local answers = {verdict(blocked, count, blocked and guess_wait(count, last, now) or 0, '1')}
  local all, mine, near = {}, {}, {}
  for _, send in ipairs(sends) do
    all[#all + 1] = send.time
    if send.group == group and not send.ok then
      mine[#mine + 1] = send.time
      if send.block == block then near[#near + 1] = send.time end
    end
  end
  answers[2] = cap(all, now, 1, argv[at], argv[at + 1])
  answers[3] = cap(mine, now, argv[at + 2], argv[at + 3], argv[at + 4])
  answers[4] = block == '' and {0, 0, 0} or cap(near, now, argv[at + 5], argv[at + 6], argv[at + 7])
  answers[5] = cap(all, now, argv[at + 8], argv[at + 9], argv[at + 10])
  local near_count, near_last = block_failures(fields, block, now)
  local stranger = block ~= '' and near_count >= tonumber(argv[at + 11])
  answers[6] = verdict(stranger, near_count, stranger and near_last + FAILURES_MS - now or 0, argv[at + 12])
  return answers
end

-- GCRA: `emission` ms per unit, `tolerance` ms of burst.  Returns the answer and the new arrival time to store.
local function rate(key, now, emission, tolerance, enforce)
  emission, tolerance = tonumber(emission), tonumber(tolerance)
  local tat = math.max(now, tonumber(redis.call('GET', key) or 0) or 0)
  local arrival = tat + emission
  local early = arrival - tolerance - now
  if early > 0.01 then return verdict(true, math.floor(tolerance / emission + 0.5), early, enforce), nil end
  return verdict(false, math.ceil((arrival - now) / emission - 0.0005), 0), arrival
end

local function spend_rate(key, now, arrival)
  if arrival then redis.call('SET', key, string.format('%.4f', arrival), 'PX', math.ceil(arrival - now) + 1000) end
end

local function refused(answers)
  for _, answer in ipairs(answers) do
    if answer[1] == 1 then return true end
  end
  return false
end

local function flat(answers)
  local out = {}
  for _, answer in ipairs(answers) do
    out[#out + 1], out[#out + 2], out[#out + 3] = answer[1], answer[2], answer[3]
  end
  return out
end

-- Keeps the phone's hash as long as anything in it counts.
local function keep_phone(key, has_failures)
  redis.call('PEXPIRE', key, has_failures and FAILURES_MS or DAY_MS + 3600000)
end

-- Writes one SMS into the log and drops what no window can see any more.
local function log_send(key, sends, id, number, now, block, group, has_failures)
  for _, send in ipairs(sends) do
    if send.time <= now - DAY_MS then redis.call('HDEL', key, send.field) end
  end
  redis.call('HSET', key, send_id(id, number), now .. ',' .. block .. ',' .. group .. ',0')
  keep_phone(key, has_failures)
end

-- Gives a send back, once: removing the entry is what makes it once.
local function refund_send(P, phone, id, number)
  if redis.call('HDEL', phone, send_id(id, number)) == 1 then
    redis.call('HINCRBY', P .. 'v:' .. id, 'k', -1)
  end
end
