-- One guarded write: scores, states, examples, changes and guard, or nothing. Answers {stored token, serving version}; where
-- the number of states is not the one that the guard was written with, {stored token, serving version, counted, held}.
-- KEYS  1 guard  2 state  3 changes  4 rejected  5 model  6 freshness
-- ARGV  1 token expected  2 new token  3 guard: the fields that this write gives it  4 block (below)  5 states  6 entries  7 prefix
-- The block is a map: partition, sizes, fields, common, names, values, left, sets, entries, entry_size, changes, missed, erased,
-- counts, training_days, changes_kept (streams/store.py, class Block, says what each holds).
-- Redis does not roll back, so the order of effects is such that a write that broke inside is mended whole by the next one:
--  1. All is asked that can be: token, types, rights, sizes, number of states. Nothing has changed yet.
--  2. What may be said twice: hashes, changes, examples, erasures, segment sets. No state is ahead of them.
--  3. Counts, then states and guard, which nothing that is left could refuse.
local stands = redis.call('HGET', KEYS[1], 'token')
local version = redis.call('HGET', KEYS[5], 'version') or ''
if stands ~= ARGV[1] then return {stands or '', version} end

local guard, block = cmsgpack.unpack(ARGV[3]), cmsgpack.unpack(ARGV[4])
local names, sizes, prefix, p = block.names, block.sizes, ARGV[7], block.partition
-- Of each key what it is, and what is done with it.
local uses = {
  [KEYS[1]] = {'hash', 'HSET'}, [KEYS[2]] = {'hash', 'HDEL', 'HSET'}, [KEYS[3]] = {'stream', 'XADD'},
  [KEYS[4]] = {'hash', 'HINCRBY'}, [KEYS[5]] = {'hash'}, [KEYS[6]] = {'hash', 'HINCRBY', 'HSET'}, [prefix .. ':customer:'] = {'none', 'HSET', 'DEL'},
}
for _, set in ipairs(block.left) do uses[prefix .. ':' .. set[1] .. ':' .. p] = {'zset', 'ZREM'} end
for _, set in ipairs(block.sets) do uses[prefix .. ':' .. set[1] .. ':' .. p] = {'zset', 'ZADD', 'ZREM'} end
for _, entry in ipairs(block.entries) do uses[prefix .. ':training:' .. p .. ':' .. entry[1]] = {'hash', 'HSET'} end
if #block.erased > 0 then uses[prefix .. ':erased:' .. p] = {'hash', 'HGET', 'HSET'} end
for key, use in pairs(uses) do
  local found = redis.call('TYPE', key).ok
  if found ~= use[1] and found ~= 'none' then return redis.error_reply('WRONGTYPE ' .. key .. ' is no ' .. use[1]) end
  for i = 2, #use do
    if redis.acl_check_cmd and not redis.acl_check_cmd(use[i], key) then
      return redis.error_reply('NOPERM this user may not ' .. use[i] .. ' ' .. key)
    end
  end
end
local whole = 0
for _, size in ipairs(sizes) do whole = whole + size end
if #names > 500 or #sizes ~= #names or #ARGV[5] ~= whole or #ARGV[6] ~= #block.entries * block.entry_size then
  return redis.error_reply('ERR malformed write')
end
-- States that were deleted or evicted. A program that does not count leaves another token than the one counted under.
local counted, held = redis.call('HMGET', KEYS[1], 'customers', 'counted'), redis.call('HLEN', KEYS[2])
if counted[2] == stands and tonumber(counted[1]) ~= held then return {stands, version, counted[1], held} end

-- What part 3 needs is had before part 2: on a server that cannot be asked for rights (6.2), and of one whose memory is full,
-- for it refuses nothing behind the first command that changes something. Nobody is called ''.
redis.call('HSET', KEYS[1], 'token', stands)
redis.call('HDEL', KEYS[2], '')

-- Who was erased and came back since stands among the names too, so the old goes before the new comes.
for _, erased in ipairs(block.erased) do redis.call('DEL', prefix .. ':customer:' .. erased[1]) end

-- Scores: the names of the fields and the values that all customers share are laid out once.
local row, width = {}, #block.fields
for j, field in ipairs(block.fields) do row[2 * j] = field end
for j, value in ipairs(block.common) do row[2 * (width - #block.common + j) + 1] = value end
local states, at = {}, 0
for i, name in ipairs(names) do
  row[1] = prefix .. ':customer:' .. name
  for j, value in ipairs(block.values[i]) do row[2 * j + 1] = value end
  local done = redis.pcall('HSET', unpack(row, 1, 2 * width + 1))  -- the only key whose type is not asked: they are many
  if type(done) == 'table' then return redis.error_reply(done.err .. ' (' .. prefix .. ':customer:*)') end
  states[2 * i - 1], states[2 * i] = name, string.sub(ARGV[5], at + 1, at + sizes[i])
  at = at + sizes[i]
end
-- The feed. Its numbers are given before its entries, so a write that broke in between leaves a jump, which followers see.
if #block.changes + block.missed > 0 then
  local last = redis.call('HINCRBY', KEYS[6], 'feed', #block.changes + block.missed)
  local id
  for i, change in ipairs(block.changes) do
    id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', block.changes_kept, '*', 'n', last - #block.changes + i, 'type', change[1],
      'customer', change[2], 'from', change[3], 'to', change[4], 'at', change[5], 'source', change[6])
  end
  if id then redis.call('HSET', KEYS[6], 'feed_id', id) end
end

-- Examples, but for those that already fell out of the kept window.
local oldest = (tonumber(redis.call('HGET', KEYS[5], 'day')) or -1000000) - block.training_days
for i, entry in ipairs(block.entries) do
  if entry[1] > oldest then
    redis.call('HSET', prefix .. ':training:' .. p .. ':' .. entry[1], entry[2],
      string.sub(ARGV[6], (i - 1) * block.entry_size + 1, i * block.entry_size))
  end
end

-- Erased customers leave nothing but a keyed hash, so that a rebuild does not seed them again.
for _, erased in ipairs(block.erased) do
  local kept = redis.call('HGET', prefix .. ':erased:' .. p, erased[2]) or '-1'
  if tonumber(string.match(kept, '^-?%d+')) <= tonumber(string.match(erased[3], '^%d+')) then  -- a rebuild meets older ones
    redis.call('HSET', prefix .. ':erased:' .. p, erased[2], erased[3])
  end
end

-- Segment sets by customer_value: whoever moved or is erased leaves the old one, before anybody comes to a new one.
for _, set in ipairs(block.left) do redis.call('ZREM', prefix .. ':' .. set[1] .. ':' .. p, unpack(set[2])) end
for _, set in ipairs(block.sets) do redis.call('ZADD', prefix .. ':' .. set[1] .. ':' .. p, unpack(set[2])) end

for _, count in ipairs(block.counts) do redis.call('HINCRBY', KEYS[4], count[1], count[2]) end
for _, erased in ipairs(block.erased) do redis.call('HDEL', KEYS[2], erased[1]) end
if #states > 0 then redis.call('HSET', KEYS[2], unpack(states)) end
local position = {'token', ARGV[2], 'customers', redis.call('HLEN', KEYS[2]), 'counted', ARGV[2]}
for name, value in pairs(guard) do
  position[#position + 1], position[#position + 2] = name, value
end
redis.call('HSET', KEYS[1], unpack(position))
return {ARGV[2], version}
