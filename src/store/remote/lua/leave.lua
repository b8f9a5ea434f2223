-- KEYS: meta, members, this gateway's name plate. ARGV: epoch, gateway, instance.
if redis.call('GET', KEYS[3]) == ARGV[3] then
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
return 0
