-- Note that the last word on a job is shown: bot, id. The record says it too: the set can be lost.
begin_even_when_full()
redis.call('HDEL', job_key(ARGV[3]), 'owed')
redis.call('SREM', own_key(ARGV[2]), ARGV[3])
return 1
