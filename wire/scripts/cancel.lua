-- Stop a job: id. A waiting one ends at once, a running one at its engine's next beat.
-- Returns 1 if it was unfinished, else 0.
begin_even_when_full()
local job = read_job(ARGV[2])
if not job or job.state == 'ended' then return 0 end
redis.call('HSET', job_key(job.id), 'cancel', '1')
if job.state == 'waiting' then close(job, cancelled(job)) end
return 1
