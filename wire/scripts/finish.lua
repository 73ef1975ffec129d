-- Say the last word on a job: engine, id, attempt, byte offset, text, outcome.
-- Returns 1 ended with this outcome, 0 not yours any more, -(1+n) send again from byte n.
begin_even_when_full()
local engine, id, attempt = ARGV[2], ARGV[3], tonumber(ARGV[4])
local offset, text, outcome = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local job = read_job(id)
if job and job.state == 'ended' and job.engine == engine and job.attempt == attempt then
  return job.outcome == outcome and 1 or 0
end
if not holds(job, engine, attempt) then return 0 end
local _, send_from = append(job, offset, text)
if send_from then
  redis.call('ZADD', LEASE, now + settings.lease_ms, id)
  return -(1 + send_from)
end
close(job, outcome)
return 1
