-- KEYS: meta, locks, their order. ARGV: epoch, then for each lock its key and the record as it must be.
for i = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[2], ARGV[i])
    redis.call('ZREM', KEYS[3], ARGV[i])
  end
end
redis.call('HSET', KEYS[1], 'locks', redis.call('HLEN', KEYS[2]))
return 0
