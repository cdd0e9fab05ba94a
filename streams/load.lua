-- A page of a partition's states, only while the token is the one expected; an unguarded read could see another's future.
-- KEYS 1 guard  2 state   ARGV 1 token expected  2 cursor  3 count
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return false end
return redis.call('HSCAN', KEYS[2], ARGV[2], 'COUNT', ARGV[3])
