-- Runs before each script. KEYS[1] is the store's own hash, ARGV[1] the epoch the gateway
-- knows; '' only where the epoch itself is asked for.
local function now_us()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- Numbers beyond 2^31 as text without an exponent.
local function digits(n)
  return string.format('%.0f', n)
end

-- Whether a is greater than b, byte by byte; Lua's own `>` follows the server's locale.
local function newer(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

local function forgot()
  return redis.error_reply('FORGOT the store is not the one that was known')
end

if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return forgot()
end
