-- Hand jobs to an engine: engine, number of free slots, number of users to pass over, number of
-- models, the models, its default first, then the ids it holds.
-- Returns how many users to pass over next (0 unless this call looked at as much as it may), then
-- {id, attempt, body, waited_ms, suspect} for each job. First what the engine holds without naming
-- it, then at most one suspect at a time, then the ring of users, one job each turn. A job that
-- names a model the engine does not have keeps its place, and so does its user.
begin_even_when_full()
local engine, free, passed_over = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local models, offered, named = {}, { [''] = true }, {}
for i = 6, 5 + ARGV[5] do
  models[#models + 1] = ARGV[i]
  offered[ARGV[i]] = true
end
for i = 6 + #models, #ARGV do named[ARGV[i]] = true end

redis.call('ZADD', ENGINES, now, engine)
redis.call('HSET', MODELS, engine, table.concat(models, '\n'))
reap()

local claimed = {}
local function hand(job)
  local body = redis.call('HGET', job_key(job.id), 'body')
  local waited_ms = math.max(0, now - job.created)
  claimed[#claimed + 1] = { job.id, job.attempt, body, waited_ms, job.suspect == '1' and 1 or 0 }
end

local started = {} -- what was wanted of the engine
local function start(job)
  job.attempt = job.attempt + 1
  redis.call('HSET', job_key(job.id), 'state', 'running', 'attempt', job.attempt,
    'engine', engine, 'model', job.wants == '' and models[1] or job.wants)
  redis.call('UNLINK', text_key(job.id))
  redis.call('ZADD', LEASE, now + settings.lease_ms, job.id)
  add_expiring(held_key(engine), job.id)
  hint(job, 'started')
  started[job.wants] = true
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

local looks -- waiting jobs that may still be looked at

-- Take the first job out of a list that this engine may start, and drop the stale entries on the
-- way. Returns nil when there is none.
local function take_first(list)
  if looks <= 0 then return nil end
  for _, id in ipairs(redis.call('LRANGE', list, 0, looks - 1)) do
    looks = looks - 1
    -- A job that Redis has forgotten wants nothing and is cleared away.
    if offered[redis.call('HGET', job_key(id), 'wants') or ''] then
      redis.call('LREM', list, 1, id)
      local job = claimable(id)
      if job then return job end
    end
  end
  return nil
end

-- Go round the ring once. A user who gets a turn goes to its end; others stay where they are.
-- Returns how many stayed.
local function go_round()
  local stayed = 0
  for _, user in ipairs(redis.call('LRANGE', RING, passed_over, passed_over + looks - 1)) do
    if #claimed >= free or looks <= 0 then break end
    local job = take_first(line_key(user))
    local waits = redis.call('EXISTS', line_key(user)) == 1
    if job or not waits then redis.call('LREM', RING, 1, user) end
    if job and waits then redis.call('RPUSH', RING, user) end
    if not job and waits then stayed = stayed + 1 end
    if job then start(job) end
  end
  return stayed
end

local holds_suspect = hand_over()
looks = settings.reap_batch
if not holds_suspect and #claimed < free then
  local job = take_first(RETRY)
  if job then start(job) end
end
looks = settings.claim_max_looks
local stayed, before = 0, nil
while #claimed < free and looks > 0 and #claimed ~= before do
  before = #claimed
  stayed = go_round()
end

if next(started) and count_waiting() > 0 then
  for wants in pairs(started) do wake(wants) end
  local user = redis.call('LINDEX', RING, 0)
  if user then wake_for(line_key(user)) end
end
table.insert(claimed, 1, looks <= 0 and passed_over + stayed or 0)
return claimed
