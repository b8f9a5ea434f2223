-- KEYS: meta, shelf, its index. ARGV: epoch, key, record, bytes that may be overwritten, most blobs.
local there = redis.call('HGET', KEYS[2], ARGV[2])
if not there and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[5]) then
  return redis.error_reply('FULL of blobs')
end
if not there or there == ARGV[4] or newer(ARGV[3], there) then
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
  redis.call('ZADD', KEYS[3], 0, ARGV[2])
  return 1
end
return there
