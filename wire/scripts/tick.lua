-- Keep deadlines and leases, repair the indexes, and count.
-- Returns {waiting, running, dead, 1 if memory is full, live engine, its models, ...}.
-- The truth is OPEN and the job hashes; every other index can be lost and is made again here.

-- This adds nothing, and is refused where memory is full: as long as nothing has been written here.
local refused = redis.pcall('ZADD', OPEN, 'XX', 0, '')
local is_full = type(refused) == 'table' and string.find(refused.err, 'OOM', 1, true) ~= nil
begin_even_when_full()
reap()

-- Unfinished jobs, the oldest first. Clears away forgotten and half-ended ones.
local function read_open()
  local jobs = {}
  for _, id in ipairs(redis.call('ZRANGE', OPEN, 0, settings.audit_max_jobs - 1)) do
    local job = read_job(id)
    if not job then
      forget(id)
    elseif job.state == 'ended' then
      close(job, job.outcome)
    else
      jobs[#jobs + 1] = job
    end
  end
  table.sort(jobs, function(a, b)
    if a.created ~= b.created then return a.created < b.created end
    return a.id < b.id
  end)
  return jobs
end

-- Drop from a list what is not `wanted` in it; returns what is left as a set.
local function prune(list, wanted)
  local left = {}
  for _, id in ipairs(redis.call('LRANGE', list, 0, -1)) do
    if wanted(read_job(id)) then
      left[id] = true
    else
      redis.call('LREM', list, 0, id)
    end
  end
  return left
end

-- Users in the order of their turns, each once: those in the ring, then those it has lost.
local function users_in_turn(jobs)
  local users, seen = {}, {}
  local function add(user)
    if not seen[user] then users[#users + 1] = user end
    seen[user] = true
  end
  for _, user in ipairs(redis.call('LRANGE', RING, 0, -1)) do add(user) end
  for _, job in ipairs(jobs) do add(job.user) end
  return users
end

local function mend_lines(jobs)
  local users = users_in_turn(jobs)
  local present = prune(RETRY, function(job)
    return job and job.state == 'waiting' and job.suspect == '1'
  end)
  for _, user in ipairs(users) do
    local left = prune(line_key(user), function(job)
      return job and job.state == 'waiting' and job.suspect ~= '1' and job.user == user
    end)
    for id in pairs(left) do present[id] = true end
  end
  for _, job in ipairs(jobs) do
    if job.state == 'waiting' and not present[job.id] then enqueue(job, 'RPUSH') end
  end
  local ring = {}
  for _, user in ipairs(users) do
    if redis.call('EXISTS', line_key(user)) == 1 then ring[#ring + 1] = user end
  end
  if table.concat(ring, ' ') ~= table.concat(redis.call('LRANGE', RING, 0, -1), ' ') then
    redis.call('UNLINK', RING)
    for _, user in ipairs(ring) do redis.call('RPUSH', RING, user) end
  end
end

local function mend_leases(jobs)
  for _, job in ipairs(jobs) do
    if job.state == 'running' then
      redis.call('ZADD', LEASE, 'NX', now + settings.lease_ms, job.id)
      add_expiring(held_key(job.engine), job.id)
    end
  end
  for _, id in ipairs(redis.call('ZRANGE', LEASE, 0, settings.audit_max_jobs - 1)) do
    local job = read_job(id)
    if not job or job.state ~= 'running' then redis.call('ZREM', LEASE, id) end
  end
  for _, engine in ipairs(redis.call('ZRANGE', ENGINES, 0, -1)) do
    for _, id in ipairs(redis.call('SMEMBERS', held_key(engine))) do
      local job = read_job(id)
      if not holds(job, engine, job and job.attempt) then
        redis.call('SREM', held_key(engine), id)
      end
    end
  end
end

local function mend_counts(jobs)
  local wanted, was = {}, redis.call('HGETALL', COUNT)
  for _, job in ipairs(jobs) do
    wanted[job.user] = (wanted[job.user] or 0) + 1
    -- One that is closed unseen is not to be shown though it runs for a while yet.
    if job.owed == '1' then add_expiring(own_key(job.bot), job.id) end
  end
  if #jobs < redis.call('ZCARD', OPEN) then return end -- too many to have seen them all
  for i = 1, #was, 2 do
    if not wanted[was[i]] then redis.call('HDEL', COUNT, was[i]) end
    if wanted[was[i]] == tonumber(was[i + 1]) then wanted[was[i]] = nil end
  end
  for user, number in pairs(wanted) do redis.call('HSET', COUNT, user, number) end
end

-- Forget who was silent for long, and what those said who are in ENGINES no more. One that lives
-- after all says it again.
local function forget_engines()
  local long_gone = now - settings.engine_forget_ms
  for _, engine in ipairs(redis.call('ZRANGEBYSCORE', ENGINES, '-inf', long_gone)) do
    redis.call('ZREM', ENGINES, engine)
  end
  for _, hash in ipairs({ MODELS, MARKS }) do
    local said = redis.call('HGETALL', hash)
    for i = 1, #said, 2 do
      if not redis.call('ZSCORE', ENGINES, said[i]) then redis.call('HDEL', hash, said[i]) end
    end
  end
end

local function ring_bells(jobs)
  local wanted = {}
  for _, job in ipairs(jobs) do
    if job.state == 'waiting' then wanted[job.wants] = true end
  end
  if #jobs < redis.call('ZCARD', OPEN) then wanted[''] = true end
  for wants in pairs(wanted) do wake(wants) end
end

local jobs = read_open()
mend_lines(jobs)
mend_leases(jobs)
mend_counts(jobs)
forget_engines()
ring_bells(jobs)

local stats = { count_waiting(), redis.call('ZCARD', LEASE), redis.call('LLEN', DEAD) }
stats[#stats + 1] = is_full and 1 or 0
for _, engine in ipairs(live_engines()) do
  stats[#stats + 1] = engine
  stats[#stats + 1] = redis.call('HGET', MODELS, engine) or ''
end
return stats
