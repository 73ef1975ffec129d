-- Renew leases and append text: engine, then (id, attempt, byte offset, text) for each job.
-- Returns for each: 0 not yours any more, 1 go on, 2 cancel asked, -(1+n) send again from byte n.
begin_even_when_full()
local engine = ARGV[2]
redis.call('ZADD', ENGINES, now, engine)

local function beat(id, attempt, offset, text)
  local job = read_job(id)
  if not holds(job, engine, attempt) then return 0 end
  redis.call('ZADD', LEASE, now + settings.lease_ms, id)
  if not knows(job) then redis.call('HSET', job_key(id), 'beaten', attempt) end
  local added, send_from = append(job, offset, text)
  if send_from then return -(1 + send_from) end
  if added then hint(job, 'delta') end
  return job.cancel == '1' and 2 or 1
end

local verdicts = {}
for i = 3, #ARGV, 4 do
  verdicts[#verdicts + 1] = beat(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3])
end
return verdicts
