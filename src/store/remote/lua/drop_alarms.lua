-- KEYS: meta, alarms. ARGV: epoch, then entries that no gateway wrote.
for i = 2, #ARGV do redis.call('LREM', KEYS[2], 0, ARGV[i]) end
return 0
