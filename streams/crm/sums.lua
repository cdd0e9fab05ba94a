-- Of the members ranked ARGV[1] to ARGV[2] of a set: how many they are, and the sum of their scores, 2 decimals.
local found, sum = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES'), 0
for i = 2, #found, 2 do sum = sum + tonumber(found[i]) end
return {#found / 2, string.format('%.2f', sum)}
