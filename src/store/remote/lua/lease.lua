-- KEYS: meta, bucket. ARGV: epoch, interval (us), drain (us), '1' if one gateway owns it, wanted,
-- debt, gateway, peers, term of an owner (us), returned, late (us). The same arithmetic as bucket.rs.
local interval, drain = tonumber(ARGV[2]), tonumber(ARGV[3])
local wanted, debt, peers, term = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[8]), tonumber(ARGV[9])
local now = now_us()
local late = tonumber(ARGV[11])
local empty, latest = now + drain, now + late

local full_at, owned_until, owner
local row = redis.call('GET', KEYS[2])
if row then
  full_at, owned_until, owner = string.match(row, '^(%d+) (%d+) (%d*)$')
  full_at, owned_until = tonumber(full_at), tonumber(owned_until)
end
if not full_at then
  local born = tonumber(redis.call('HGET', KEYS[1], 'born')) or now
  full_at, owned_until, owner = 0, 0, ''
  if born > 0 then full_at = born + drain end
end
full_at = math.min(math.max(full_at, now), empty + late)
if debt > 0 then
  full_at = math.min(math.max(full_at, latest) + interval * debt, empty + late)
end
full_at = math.max(full_at - interval * tonumber(ARGV[10]), now)

local holder, left_us = 0, 0
if ARGV[4] == '1' then
  left_us = math.min(math.max(owned_until - now, 0), term)
  if owner ~= '' and owner ~= ARGV[7] and left_us > 0 then
    holder = 2
  else
    holder, left_us = 1, term
    owner, owned_until = ARGV[7], now + term
  end
end

local from = math.max(full_at, latest)
local left = math.floor(math.max(empty - from, 0) / interval)
if late > 0 and full_at <= now then left = math.max(left, 1) end
local most = left
if holder == 0 then most = math.ceil(left / math.max(peers, 1)) end
if holder == 2 then most = 0 end
local granted = math.min(most, wanted)
if granted > 0 then full_at = from + interval * granted end
local wait = 0
if granted == 0 and wanted > 0 then
  wait = full_at + interval - empty
  if late + interval > drain then wait = full_at - now end
  if holder == 2 then wait = left_us end
end
local keep_us = math.max(full_at, owned_until) - now
if keep_us > 0 then
  local text = digits(full_at) .. ' ' .. digits(owned_until) .. ' ' .. owner
  redis.call('SET', KEYS[2], text, 'PX', digits(math.ceil(keep_us / 1000)))
else
  redis.call('DEL', KEYS[2])
end
return {granted, wait, holder, left_us, full_at - now}
