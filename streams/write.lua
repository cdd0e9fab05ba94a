-- One guarded write: scores, states, examples, changes and guard, or nothing. Answers {stored token, serving version}.
-- KEYS  1 guard  2 state  3 changes  4 rejected  5 model
-- ARGV  1 token expected  2 new token  3 guard: the fields that this write gives it  4 block (below)  5 states  6 entries  7 prefix
-- The block is a map: partition, size, fields, common, names, values, segments, entries, entry_size, changes, erased, counts,
-- training_days, changes_kept (streams/store.py, class Block, says what each holds).
-- Everything is checked before the first write, for Redis does not roll back; the guard is written last.
local stands = redis.call('HGET', KEYS[1], 'token')
local version = redis.call('HGET', KEYS[5], 'version') or ''
if stands ~= ARGV[1] then return {stands or '', version} end

local guard, block = cmsgpack.unpack(ARGV[3]), cmsgpack.unpack(ARGV[4])
local names, size, prefix, p = block.names, block.size, ARGV[7], block.partition
local kinds = {[KEYS[1]] = 'hash', [KEYS[2]] = 'hash', [KEYS[3]] = 'stream', [KEYS[4]] = 'hash', [KEYS[5]] = 'hash'}
for _, set in ipairs(block.segments) do kinds[prefix .. ':segment:' .. set[1] .. ':' .. p] = 'zset' end
for _, entry in ipairs(block.entries) do kinds[prefix .. ':training:' .. p .. ':' .. entry[1]] = 'hash' end
for _, change in ipairs(block.changes) do
  if change[2] ~= '' then kinds[prefix .. ':segment:' .. change[2] .. ':' .. p] = 'zset' end
end
if #block.erased > 0 then kinds[prefix .. ':erased:' .. p] = 'hash' end
for key, kind in pairs(kinds) do
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then return redis.error_reply('WRONGTYPE ' .. key .. ' is no ' .. kind) end
end
if #names > 500 or #ARGV[5] ~= #names * size or #ARGV[6] ~= #block.entries * block.entry_size then
  return redis.error_reply('ERR malformed write')
end

-- Erased customers leave nothing but a keyed hash, so that a rebuild does not seed them again. Who came back since stands
-- among the names too: so all of the old goes before anything of the new comes.
for _, erased in ipairs(block.erased) do
  redis.call('DEL', prefix .. ':customer:' .. erased[1])
  redis.call('HDEL', KEYS[2], erased[1])
  redis.call('HSET', prefix .. ':erased:' .. p, erased[2], erased[3])
end

-- Scores: the names of the fields and the values that all customers share are laid out once.
local row, width = {}, #block.fields
for j, field in ipairs(block.fields) do row[2 * j] = field end
for j, value in ipairs(block.common) do row[2 * (width - #block.common + j) + 1] = value end
local states = {}
for i, name in ipairs(names) do
  row[1] = prefix .. ':customer:' .. name
  for j, value in ipairs(block.values[i]) do row[2 * j + 1] = value end
  redis.call('HSET', unpack(row, 1, 2 * width + 1))
  states[2 * i - 1], states[2 * i] = name, string.sub(ARGV[5], (i - 1) * size + 1, i * size)
end
for i = 1, #states, 1000 do redis.call('HSET', KEYS[2], unpack(states, i, math.min(i + 999, #states))) end

-- Segment sets by customer_value: whoever moved or is erased leaves the old one, before anybody comes to a new one.
for _, change in ipairs(block.changes) do
  if change[2] ~= '' then redis.call('ZREM', prefix .. ':segment:' .. change[2] .. ':' .. p, change[1]) end
  if change[6] then
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', block.changes_kept, '*', 'customer', change[1],
      'from', change[2], 'to', change[3], 'at', change[4], 'source', change[5])
  end
end
for _, set in ipairs(block.segments) do
  redis.call('ZADD', prefix .. ':segment:' .. set[1] .. ':' .. p, unpack(set[2]))
end

-- Examples, but for those that already fell out of the kept window.
local oldest = (tonumber(redis.call('HGET', KEYS[5], 'day')) or -1000000) - block.training_days
for i, entry in ipairs(block.entries) do
  if entry[1] > oldest then
    redis.call('HSET', prefix .. ':training:' .. p .. ':' .. entry[1], entry[2],
      string.sub(ARGV[6], (i - 1) * block.entry_size + 1, i * block.entry_size))
  end
end

for _, count in ipairs(block.counts) do redis.call('HINCRBY', KEYS[4], count[1], count[2]) end
local position = {'token', ARGV[2]}
for name, value in pairs(guard) do
  position[#position + 1], position[#position + 2] = name, value
end
redis.call('HSET', KEYS[1], unpack(position))
return {ARGV[2], version}
