-- Give a job back: engine, id, attempt. Returns 1 given back, now or by an earlier call, or
-- 0 not yours any more.
begin_even_when_full()
local engine, id, attempt = ARGV[2], ARGV[3], tonumber(ARGV[4])
local job = read_job(id)
if job and job.state == 'waiting' and job.released == engine .. ' ' .. attempt then return 1 end
if not holds(job, engine, attempt) then return 0 end
give_back(job)
return 1
