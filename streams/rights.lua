-- The first of these commands that the user may not run with that key; 0 if none, or where the server cannot say (6.2).
-- KEYS none   ARGV 1 commands, each a list of words
if not redis.acl_check_cmd then return 0 end
for i, command in ipairs(cmsgpack.unpack(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(command)) then return i end
end
return 0
