-- KEYS: meta, alarms. ARGV: epoch, how many.
local lost = tonumber(redis.call('HGET', KEYS[1], 'lost') or '0')
return {lost, redis.call('LRANGE', KEYS[2], 0, ARGV[2] - 1)}
