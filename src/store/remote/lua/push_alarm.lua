-- KEYS: meta, alarms. ARGV: epoch, alarm, most alarms.
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[3]) then
  redis.call('HINCRBY', KEYS[1], 'lost', 1)
  return redis.error_reply('FULL of alarms')
end
local sequence = redis.call('HINCRBY', KEYS[1], 'alarm', 1)
redis.call('RPUSH', KEYS[2], string.format('%016.0f', sequence) .. ARGV[2])
return sequence
