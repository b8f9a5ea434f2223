-- KEYS: meta. ARGV: '', schema, a new epoch, the epoch that was known or ''.
-- A store that comes after one that was known remembers when it was born: what its predecessor knew
-- of quotas is lost, so all of them count as spent at that time.
local known = ARGV[4]
if redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'schema', ARGV[2], 'locks', 0, 'born', 0)
end
local meta = redis.call('HMGET', KEYS[1], 'schema', 'epoch', 'born')
local is_ours = tonumber(meta[1]) and tonumber(meta[1]) <= tonumber(ARGV[2])
if is_ours and known ~= '' and known ~= meta[2] and meta[3] == '0' then
  redis.call('HSET', KEYS[1], 'born', digits(now_us()))
end
return {meta[1], meta[2]}
