-- What every script shares; Python puts this file before each of them. Owns the names of the keys
-- and the moves between a job's states; knows nothing of models or Discord.
-- KEYS[1] is the lane, such as {ovid:0}. ARGV[1] is the settings as JSON. A script's own arguments
-- follow from ARGV[2]. Time is Redis's alone.

-- A key of a wrong type was made by another program or by hand, and nothing of ours is in it: it is
-- cleared away at the first command it refuses, and made again like one that was lost.
local bare = redis
local redis = { pcall = bare.pcall }
function redis.call(...)
  local answer = bare.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then bare.call('UNLINK', (select(2, ...))) end
  return bare.call(...) -- what was refused did nothing; again, for the error as Redis has it
end

local lane = KEYS[1]
local settings = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000) -- ms

local OPEN = lane .. ':open' -- zset: unfinished job -> deadline, ms; with the hashes, the truth
local LEASE = lane .. ':lease' -- zset: running job -> when its lease lapses, ms
local COUNT = lane .. ':count' -- hash: user -> unfinished jobs
local RING = lane .. ':ring' -- list: users with a line, in the order of their turns
local RETRY = lane .. ':retry' -- list: suspects, whose engine was lost
local ENGINES = lane .. ':engines' -- zset: engine -> last sign of life, ms
local MODELS = lane .. ':models' -- hash: engine -> its models, one a line, its default first
local MARKS = lane .. ':marks' -- hash: engine -> fingerprint of the key it marks with, \n, version
local CLOCK = lane .. ':clock' -- string: when a script last ran, ms
local DEAD = lane .. ':dead' -- list: jobs given up, newest first

local function job_key(id) return lane .. ':job:' .. id end
local function text_key(id) return lane .. ':text:' .. id end
local function line_key(user) return lane .. ':waiting:' .. user end
local function held_key(engine) return lane .. ':held:' .. engine end
local function own_key(bot) return lane .. ':own:' .. bot end
local function events_key(bot) return lane .. ':events:' .. bot end

-- A list of at most one item, to wake one idle engine: any, or one that has the wanted model.
local function bell_key(wants) return lane .. ':bell' .. (wants == '' and '' or ':' .. wants) end

-- Note that a script ran. After a long silence Redis itself was away (or frozen, or new): no
-- engine could have renewed a lease, so all leases start anew.
local function begin()
  local last = tonumber(redis.call('GET', CLOCK))
  redis.call('SET', CLOCK, now)
  if last and last <= now and now - last <= settings.freeze_gap_ms then return end
  for _, id in ipairs(redis.call('ZRANGE', LEASE, 0, -1)) do
    redis.call('ZADD', LEASE, now + settings.lease_ms, id)
  end
end

-- The same for scripts that must work when memory is full. Redis decides that at a script's first
-- write: one that can only free memory lets the whole script pass, SET would have it refused.
local function begin_even_when_full()
  redis.call('UNLINK', lane .. ':nothing')
  begin()
end

-- The whole number that a text is, or `default` where something else stands. Lua would take `nan`,
-- with which nothing can be put in order, and 1e999.
local function whole(text, default)
  if text and #text <= 15 and string.find(text, '^%d+$') then return tonumber(text) end
  return default
end

local FIELDS = {
  'state', 'user', 'bot', 'attempt', 'engine', 'model', 'beaten', 'released', 'cancel', 'suspect',
  'created', 'deadline', 'seed', 'outcome', 'wants', 'owed',
}

-- The job, or nil when Redis has forgotten it. A field that was never set reads ''.
local function read_job(id)
  local values = redis.call('HMGET', job_key(id), unpack(FIELDS))
  if not values[1] then return nil end
  local job = { id = id }
  for i, field in ipairs(FIELDS) do job[field] = values[i] or '' end
  job.attempt = whole(job.attempt, 0)
  job.created = whole(job.created, now)
  job.deadline = whole(job.deadline, now)
  return job
end

-- The fence: only the engine and attempt that hold a job may write to it.
local function holds(job, engine, attempt)
  return job and job.state == 'running' and job.engine == engine and job.attempt == attempt
end

-- Whether the engine that holds a job has shown that the job reached it.
local function knows(job) return job.beaten == tostring(job.attempt) end

local function live_engines()
  return redis.call('ZRANGEBYSCORE', ENGINES, '(' .. (now - settings.engine_alive_ms), '+inf')
end

-- What live engines said of themselves: engine, what it said, engine, what it said, ...
local function marks()
  local found = {}
  for _, engine in ipairs(live_engines()) do
    local said = redis.call('HGET', MARKS, engine)
    if said then
      found[#found + 1] = engine
      found[#found + 1] = said
    end
  end
  return found
end

local function count_engines() return #live_engines() end

-- Whether a live engine has the model; one whose record was lost may have any.
local function is_offered(wants)
  for _, engine in ipairs(live_engines()) do
    local models = redis.call('HGET', MODELS, engine)
    if not models or wants == '' then return true end
    if string.find('\n' .. models .. '\n', '\n' .. wants .. '\n', 1, true) then return true end
  end
  return false
end

-- How many unfinished jobs a user has. What is no number goes, or it could not be counted up.
local function count_of(user)
  local said = redis.call('HGET', COUNT, user)
  local count = whole(said, nil)
  if said and not count then redis.call('HDEL', COUNT, user) end
  return count or 0
end

local function count_waiting()
  return math.max(0, redis.call('ZCARD', OPEN) - redis.call('ZCARD', LEASE))
end

-- Add to a set that a lost job could leave behind; what is there already is not written again.
local function add_expiring(set, id)
  if redis.call('SADD', set, id) == 1 then redis.call('EXPIRE', set, settings.day_s) end
end

local function wake(wants)
  local bell = bell_key(wants)
  if redis.call('LLEN', bell) > 0 then return end
  redis.call('RPUSH', bell, '1')
  redis.call('EXPIRE', bell, settings.day_s)
end

-- Wake an engine for the first job of a list.
local function wake_for(list)
  local id = redis.call('LINDEX', list, 0)
  if id then wake(redis.call('HGET', job_key(id), 'wants') or '') end
end

local function hint(job, kind)
  local stream = events_key(job.bot)
  redis.call('XADD', stream, 'MAXLEN', '~', settings.stream_max_entries, '*',
    'job', job.id, 'attempt', job.attempt, 'kind', kind)
  redis.call('EXPIRE', stream, settings.day_s)
end

-- Put a waiting job into its line: suspects into theirs, others into their user's.
-- `push` is RPUSH for the end of the line, LPUSH for its head.
local function enqueue(job, push)
  if job.suspect == '1' then
    redis.call(push, RETRY, job.id)
  else
    if redis.call(push, line_key(job.user), job.id) == 1 then redis.call(push, RING, job.user) end
    redis.call('EXPIRE', line_key(job.user), settings.day_s)
  end
  wake(job.wants)
end

local function dequeue(job)
  redis.call('LREM', RETRY, 0, job.id)
  redis.call('LREM', line_key(job.user), 0, job.id)
  if redis.call('EXISTS', line_key(job.user)) == 0 then redis.call('LREM', RING, 0, job.user) end
end

-- Take a job that has no hash any more out of what can be reached without one.
local function forget(id)
  redis.call('ZREM', OPEN, id)
  redis.call('ZREM', LEASE, id)
  redis.call('LREM', RETRY, 0, id)
end

local function drop_lease(job)
  redis.call('ZREM', LEASE, job.id)
  redis.call('SREM', held_key(job.engine), job.id)
end

-- End a job. The state comes first, so that a write cut short is completed by the next audit.
local function close(job, outcome)
  redis.call('HSET', job_key(job.id), 'state', 'ended', 'outcome', outcome)
  redis.call('EXPIRE', job_key(job.id), settings.record_ttl_s)
  redis.call('EXPIRE', text_key(job.id), settings.record_ttl_s)
  dequeue(job)
  drop_lease(job)
  if redis.call('ZREM', OPEN, job.id) == 1 and count_of(job.user) >= 0
    and redis.call('HINCRBY', COUNT, job.user, -1) <= 0 then
    redis.call('HDEL', COUNT, job.user)
  end
  hint(job, 'ended')
  if job.suspect == '1' then wake_for(RETRY) end
end

-- The last word of a job cancelled while no engine had it. The seed is written as text because
-- Lua's numbers would round it.
local function cancelled(job)
  local waited_ms = math.max(0, now - job.created)
  local seed = string.find(job.seed, '^%d+$') and job.seed or '0'
  return string.format('{"kind":"done","finish_reason":"cancelled","usage":{"prompt_tokens":0,'
    .. '"completion_tokens":0,"queue_ms":%d,"first_token_ms":null,"total_ms":%d},'
    .. '"model_name":%s,"seed":%s}', waited_ms, waited_ms, cjson.encode(job.model), seed)
end

local function close_late(job)
  if job.cancel == '1' then
    close(job, cancelled(job))
  elseif job.attempt == 0 and not is_offered(job.wants) then
    close(job, settings.outcomes.no_engine)
  else
    close(job, settings.outcomes.deadline)
  end
end

-- The engine that held this job is lost: once more as a suspect, or never again.
local function lose(job)
  drop_lease(job)
  if job.cancel == '1' then
    close(job, cancelled(job))
  elseif job.attempt >= settings.max_attempts then
    close(job, settings.outcomes.engine_lost)
    redis.call('LPUSH', DEAD, job.id)
    redis.call('LTRIM', DEAD, 0, settings.dead_max - 1)
    redis.call('EXPIRE', DEAD, settings.dead_ttl_s)
  else
    job.suspect = '1'
    redis.call('HSET', job_key(job.id), 'state', 'waiting', 'engine', '', 'suspect', '1')
    enqueue(job, 'RPUSH')
    hint(job, 'retried')
  end
end

-- Its engine gives a job back unharmed: to the head of its line, and the attempt does not count.
local function give_back(job)
  drop_lease(job)
  if job.cancel == '1' then
    close(job, cancelled(job))
  else
    local released = job.engine .. ' ' .. job.attempt
    job.attempt = job.attempt - 1
    redis.call('HSET', job_key(job.id), 'state', 'waiting', 'engine', '',
      'attempt', job.attempt, 'released', released, 'beaten', '')
    enqueue(job, 'LPUSH')
    hint(job, 'retried')
  end
end

-- Close what is past its deadline and take back what is past its lease, so many at a time.
local function reap()
  local batch = settings.reap_batch
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', OPEN, '-inf', now, 'LIMIT', 0, batch)) do
    local job = read_job(id)
    if not job then
      forget(id)
    elseif job.state ~= 'ended' then
      close_late(job)
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASE, '-inf', now, 'LIMIT', 0, batch)) do
    local job = read_job(id)
    if not job then
      forget(id)
    elseif job.state == 'running' then
      lose(job)
    else
      redis.call('ZREM', LEASE, id)
    end
  end
end

-- Append `piece`, which begins at byte `offset` of the attempt's text, as far as it is new.
-- Returns whether anything was added and, for a gap, the length to send from. A full text takes
-- nothing more and has no gaps.
local function append(job, offset, piece)
  local key = text_key(job.id)
  local length = redis.call('STRLEN', key)
  if length >= settings.max_text_bytes then return false, nil end
  if offset > length then return false, length end
  local fresh = string.sub(piece, length - offset + 1, settings.max_text_bytes - offset)
  if fresh == '' then return false, nil end
  redis.call('APPEND', key, fresh)
  if length == 0 then redis.call('PEXPIREAT', key, job.deadline + settings.record_ttl_s * 1000) end
  return true, nil
end
