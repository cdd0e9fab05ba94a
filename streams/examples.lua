-- A page of the examples of a day, only while nothing can add to them and the model is the one to learn from.
-- KEYS 1 guard  2 model  3 training of the day   ARGV 1 day  2 model version  3 cursor  4 count
if (tonumber(redis.call('HGET', KEYS[1], 'swept_to')) or -1) < tonumber(ARGV[1]) then return false end
if redis.call('HGET', KEYS[2], 'version') ~= ARGV[2] then return false end
return redis.call('HSCAN', KEYS[3], ARGV[3], 'COUNT', ARGV[4])
