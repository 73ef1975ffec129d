-- Try once each command that the queue gives, on keys that nobody else uses and that are gone again
-- in the end; a script is seen as a whole or not at all. Stands alone, without common.lua.
-- KEYS[1] begins the keys. Returns the names of the commands that were refused.
local text, hash, list = KEYS[1] .. ':text', KEYS[1] .. ':hash', KEYS[1] .. ':list'
local set, zset, stream = KEYS[1] .. ':set', KEYS[1] .. ':zset', KEYS[1] .. ':stream'

-- What Redis says of a missing right, and what it said before 7.2, where it named no command.
local function is_denied(answer)
  if type(answer) ~= 'table' or not answer.err then return false end
  return string.find(answer.err, 'ACL failure in script', 1, true)
    or string.find(answer.err, "The user executing the script can't", 1, true)
end

-- Without this nothing would be gone in the end, so nothing else is tried.
if is_denied(redis.pcall('UNLINK', text, hash, list, set, zset, stream)) then return { 'unlink' } end
-- What keeps all writes from a Redis is no matter of rights, and an error here.
redis.call('UNLINK', text, hash, list, set, zset, stream)
local refused = {}
for _, command in ipairs({
  { 'PING' }, { 'TIME' },
  { 'SET', text, '1' }, { 'APPEND', text, '1' }, { 'GET', text }, { 'STRLEN', text },
  { 'EXISTS', text }, { 'EXPIRE', text, 60 }, { 'PEXPIREAT', text, 2000000000000 },
  { 'HSET', hash, 'a', 1 }, { 'HINCRBY', hash, 'a', 1 }, { 'HGET', hash, 'a' },
  { 'HMGET', hash, 'a' }, { 'HGETALL', hash }, { 'HEXISTS', hash, 'a' }, { 'HDEL', hash, 'a' },
  { 'RPUSH', list, 'a' }, { 'LPUSH', list, 'a' }, { 'LLEN', list }, { 'LINDEX', list, 0 },
  { 'LRANGE', list, 0, -1 }, { 'LTRIM', list, 0, 9 }, { 'LREM', list, 0, 'a' },
  { 'SADD', set, 'a' }, { 'SMEMBERS', set }, { 'SREM', set, 'a' },
  { 'ZADD', zset, 1, 'a' }, { 'ZSCORE', zset, 'a' }, { 'ZCARD', zset },
  { 'ZRANGE', zset, 0, -1 }, { 'ZRANGEBYSCORE', zset, 0, 9 }, { 'ZREM', zset, 'a' },
  { 'XADD', stream, '*', 'a', 1 }, { 'XREVRANGE', stream, '+', '-', 'COUNT', 1 },
  { 'XREAD', 'COUNT', 1, 'STREAMS', stream, '0-0' },
}) do
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then
    refused[#refused + 1] = string.lower(command[1])
  end
end
redis.call('UNLINK', text, hash, list, set, zset, stream)
return refused
