-- KEYS: meta, counter. ARGV: epoch, add, keep for (ms). The sum as text: Lua's numbers end at 2^53.
if type(redis.pcall('INCRBY', KEYS[2], ARGV[2])) ~= 'number' then
  redis.call('SET', KEYS[2], '9223372036854775807')
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return redis.call('GET', KEYS[2])
