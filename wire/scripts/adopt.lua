-- A bot takes up what another run of it began to show: id. Returns 0 for a job that Redis has
-- forgotten: a bare HSET would make a hash that never expires.
begin_even_when_full()
if redis.call('HEXISTS', job_key(ARGV[2]), 'state') == 0 then return 0 end
redis.call('HSET', job_key(ARGV[2]), 'adopted', 1)
return 1
