-- KEYS: meta, locks, their order. ARGV: epoch, after which change, how many.
-- A server that evicts keys may lose the locks and keep the rest: then it has forgotten.
local count = redis.call('HLEN', KEYS[2])
if count ~= redis.call('ZCARD', KEYS[3]) or tostring(count) ~= redis.call('HGET', KEYS[1], 'locks') then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  return forgot()
end
local found = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local out = {}
for i = 1, #found, 2 do
  out[#out + 1] = found[i]
  out[#out + 1] = redis.call('HGET', KEYS[2], found[i])
  out[#out + 1] = tonumber(found[i + 1])
end
return out
