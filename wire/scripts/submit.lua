-- Admit a job: id, user, bot, body, ttl_ms, seed, ticket, max_waiting, max_unfinished_per_user,
-- wanted model or ''.
-- Returns {admission, number waiting, live engines}. A repeat of the same call, known by its
-- ticket, is answered as the first was.
begin()
local id, user, bot, body = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local deadline, seed, ticket = now + ARGV[6], ARGV[7], ARGV[8]
local max_waiting, max_unfinished, wants = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11]

local waiting, engines = count_waiting(), count_engines()
local known = redis.call('HMGET', job_key(id), 'state', 'ticket')
if known[1] then
  if known[1] == 'waiting' then waiting = math.max(0, waiting - 1) end
  return { known[2] == ticket and 'ok' or 'duplicate', waiting, engines }
end
if engines > 0 and not is_offered(wants) then return { 'no_model', waiting, engines } end
if count_of(user) >= max_unfinished then
  return { 'busy_user', waiting, engines }
end
if waiting >= max_waiting then return { 'busy', waiting, engines } end

redis.call('ZADD', OPEN, deadline, id)
redis.call('HSET', job_key(id), 'state', 'waiting', 'user', user, 'bot', bot, 'body', body,
  'attempt', 0, 'created', now, 'deadline', deadline, 'seed', seed, 'ticket', ticket,
  'wants', wants, 'owed', '1')
redis.call('PEXPIREAT', job_key(id), math.max(now, deadline) + settings.record_ttl_s * 1000)
redis.call('HINCRBY', COUNT, user, 1)
add_expiring(own_key(bot), id)
enqueue({ id = id, user = user, bot = bot, suspect = '', wants = wants }, 'RPUSH')
return { 'ok', waiting, engines }
