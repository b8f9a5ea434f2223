-- KEYS: meta, members, this gateway's name plate. ARGV: epoch, gateway, instance, kept for (us).
-- One number, one gateway: two with the same would overwrite each other's locks.
local plate = redis.call('GET', KEYS[3])
if plate and plate ~= ARGV[3] then
  return redis.error_reply('TAKEN another gateway has this number')
end
redis.call('SET', KEYS[3], ARGV[3], 'PX', math.ceil(ARGV[4] / 1000))
local now = now_us()
redis.call('ZADD', KEYS[2], digits(now), ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', digits(now - ARGV[4]))
return redis.call('ZRANGE', KEYS[2], 0, 1023)
