-- KEYS: meta, locks, their order. ARGV: epoch, channel, most locks, then for each lock its key, the
-- record, and bytes that may be overwritten whatever they are ('' for none). Answers what was newer.
local new = 0
for i = 4, #ARGV, 3 do
  new = new + 1 - redis.call('HEXISTS', KEYS[2], ARGV[i])
end
if new > 0 and redis.call('HLEN', KEYS[2]) + new > tonumber(ARGV[3]) then
  return redis.error_reply('FULL of locks')
end
local newer_there, changed = {}, false
for i = 4, #ARGV, 3 do
  local key, record, void = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local there = redis.call('HGET', KEYS[2], key)
  if not there or there == void or newer(record, there) then
    redis.call('HSET', KEYS[2], key, record)
    redis.call('ZADD', KEYS[3], redis.call('HINCRBY', KEYS[1], 'sequence', 1), key)
    changed = true
  elseif there ~= record then
    newer_there[#newer_there + 1] = key
    newer_there[#newer_there + 1] = there
  end
end
redis.call('HSET', KEYS[1], 'locks', redis.call('HLEN', KEYS[2]))
if changed then redis.call('PUBLISH', ARGV[2], '') end
return newer_there
