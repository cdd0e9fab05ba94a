-- How fresh these partitions are, as a worker that holds them found it, and when that was by the clock of this server.
-- KEYS one a partition    ARGV  1 owner, then of each partition as_of, lag_seconds, lag_records
local now = redis.call('TIME')[1]
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, 'as_of', ARGV[3 * i - 1], 'lag_seconds', ARGV[3 * i], 'lag_records', ARGV[3 * i + 1],
    'owner', ARGV[1], 'at', now)
end
