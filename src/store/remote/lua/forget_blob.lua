-- KEYS: meta, shelf, its index. ARGV: epoch, key.
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
return 0
