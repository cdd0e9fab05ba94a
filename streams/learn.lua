-- Writes the model version of a day, only if the stored version and its token are the ones it was learned from.
-- KEYS 1 model  2 versions (list, oldest first)  3 pinned (set)  4 document of the new version  5 ledger (hash by day)
--      6 segments  7 clusters
-- ARGV 1 version held  2 token held  3 new version  4 new token  5 day  6 document  7 metrics  8 versions kept  9 training_days
--      10 prefix  11 partitions  12 the day's line of the ledger, '' of a publish  13 days that lines are kept
--      14 what KEYS 6 and 7 hold from now on, {field, text, ...} each; '' where they stay
local stored = redis.call('HMGET', KEYS[1], 'version', 'token')
if (stored[1] or '') ~= ARGV[1] or (stored[2] or '') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[4], ARGV[6])
redis.call('LREM', KEYS[2], 0, ARGV[3])
redis.call('RPUSH', KEYS[2], ARGV[3])
while redis.call('LLEN', KEYS[2]) > tonumber(ARGV[8]) do
  local old = redis.call('LPOP', KEYS[2])
  if redis.call('SISMEMBER', KEYS[3], old) == 0 then redis.call('DEL', ARGV[10] .. ':model:' .. old) end
end
-- Examples and lines that fall out of the kept window; a publish may pass over several days at once. A week more, for a write that
-- compared with the day before may come behind. Of days that are learned again they are gone already, but for what a rebuild
-- brought meanwhile, so the window goes by the model's day.
local learned = tonumber(ARGV[5])
local before = redis.call('HMGET', KEYS[1], 'day', 'furthest')
local day = tonumber(before[1]) or learned
local passed = learned - day
-- The last day that was ever learned, whatever older model is published: of the examples before it those of the kept days are left,
-- and no others. A program of before does not move it.
local furthest = math.max(learned, day, tonumber(before[2]) or 0)
for each = learned - math.max(passed, 1) + 1 - 7, learned do
  for p = 0, tonumber(ARGV[11]) - 1 do
    redis.call('DEL', ARGV[10] .. ':training:' .. p .. ':' .. (each - tonumber(ARGV[9])))
  end
  redis.call('HDEL', KEYS[5], each - tonumber(ARGV[13]))
end
-- What the day showed goes with its model, so no day counts twice; a day that is learned again, after a publish or a
-- rollback to an older model, replaces its line.
if ARGV[12] ~= '' then redis.call('HSET', KEYS[5], ARGV[5], ARGV[12]) end
if ARGV[14] ~= '' then
  redis.call('HSET', KEYS[1], 'since', furthest) -- the stream's day when this publish came
  for i, fields in ipairs(cmsgpack.unpack(ARGV[14])) do
    redis.call('DEL', KEYS[5 + i])
    redis.call('HSET', KEYS[5 + i], unpack(fields))
  end
end
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'token', ARGV[4], 'day', ARGV[5], 'metrics', ARGV[7],
  'furthest', furthest)
return 1
