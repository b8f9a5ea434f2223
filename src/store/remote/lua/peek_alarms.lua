-- KEYS: meta, alarms. ARGV: epoch, how many, after which.
local lost = tonumber(redis.call('HGET', KEYS[1], 'lost') or '0')
local after, low, high = tonumber(ARGV[3]), 0, redis.call('LLEN', KEYS[2])
-- Sequences rise along the list: halve until the first one after it is found.
while low < high do
  local middle = math.floor((low + high) / 2)
  local sequence = tonumber(string.sub(redis.call('LINDEX', KEYS[2], middle), 1, 16))
  -- What no gateway wrote has no number; it is shown, so that it is found out.
  if sequence and sequence <= after then low = middle + 1 else high = middle end
end
return {lost, redis.call('LRANGE', KEYS[2], low, low + ARGV[2] - 1)}
