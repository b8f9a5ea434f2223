-- KEYS: meta, shelf, its index. ARGV: epoch, '-' or '(' and a key, how many.
local out = {}
for _, key in ipairs(redis.call('ZRANGEBYLEX', KEYS[3], ARGV[2], '+', 'LIMIT', 0, ARGV[3])) do
  out[#out + 1] = key
  out[#out + 1] = redis.call('HGET', KEYS[2], key)
end
return out
