-- Hand jobs to an engine: engine, model, number of free slots, then the ids it holds.
-- Returns {id, attempt, body, waited_ms, suspect} for each. First what the engine holds without
-- naming it, then at most one suspect at a time, then the ring of users, one job each turn.
begin_even_when_full()
local engine, model, free = ARGV[2], ARGV[3], tonumber(ARGV[4])
local named = {}
for i = 5, #ARGV do named[ARGV[i]] = true end

redis.call('ZADD', ENGINES, now, engine)
redis.call('HSET', MODELS, engine, model)
reap()

local claimed = {}
local function hand(job)
  local body = redis.call('HGET', job_key(job.id), 'body')
  local waited_ms = math.max(0, now - job.created)
  claimed[#claimed + 1] = { job.id, job.attempt, body, waited_ms, job.suspect == '1' and 1 or 0 }
end

local function start(job)
  job.attempt = job.attempt + 1
  redis.call('HSET', job_key(job.id), 'state', 'running', 'attempt', job.attempt,
    'engine', engine, 'model', model)
  redis.call('UNLINK', text_key(job.id))
  redis.call('ZADD', LEASE, now + settings.lease_ms, job.id)
  add_expiring(held_key(engine), job.id)
  hint(job, 'started')
  hand(job)
end

-- The job, if it still waits and may still begin.
local function claimable(id)
  local job = read_job(id)
  if not job then
    forget(id)
  elseif job.state == 'waiting' then
    if job.deadline > now then return job end
    close_late(job)
  end
  return nil
end

-- What an engine holds without naming it, it either never heard of (the answer to its claim was
-- lost: hand it over again, on the lease it has) or has forgotten (it once wrote to it: lost).
local function hand_over()
  local holds_suspect = false
  local held = redis.call('SMEMBERS', held_key(engine))
  table.sort(held)
  for _, id in ipairs(held) do
    local job = read_job(id)
    if not holds(job, engine, job and job.attempt) then
      redis.call('SREM', held_key(engine), id)
    elseif not named[id] and knows(job) then
      lose(job)
    else
      if not named[id] then hand(job) end
      holds_suspect = holds_suspect or job.suspect == '1'
    end
  end
  return holds_suspect
end

local looks = free + settings.reap_batch -- a bound on how many stale entries one call skips
local function start_next(from_line)
  while looks > 0 do
    looks = looks - 1
    local id = from_line()
    if not id then return false end
    local job = id ~= '' and claimable(id)
    if job then
      start(job)
      return true
    end
  end
  return false
end

local function next_suspect() return redis.call('LPOP', RETRY) end

-- The next job of the user whose turn it is; '' for a user whose line turned out empty.
local function next_in_turn()
  local user = redis.call('LPOP', RING)
  if not user then return false end
  local id = redis.call('LPOP', line_key(user))
  if redis.call('EXISTS', line_key(user)) == 1 then redis.call('RPUSH', RING, user) end
  return id or ''
end

local holds_suspect = hand_over()
if not holds_suspect and #claimed < free then start_next(next_suspect) end
while #claimed < free and start_next(next_in_turn) do end
if #claimed > 0 and count_waiting() > 0 then wake() end
return claimed
