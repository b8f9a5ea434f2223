-- KEYS: meta, alarms. ARGV: epoch, up to which.
local upto = tonumber(ARGV[2])
while true do
  local first = redis.call('LINDEX', KEYS[2], 0)
  if not first or tonumber(string.sub(first, 1, 16)) > upto then return 0 end
  redis.call('LPOP', KEYS[2])
end
