-- An engine is gone on purpose: engine. What it still holds counts as lost at once, but for what
-- it never heard of because the answer to its last claim was lost.
begin_even_when_full()
local engine = ARGV[2]
redis.call('ZREM', ENGINES, engine)
redis.call('HDEL', MODELS, engine)
redis.call('HDEL', MARKS, engine)
local held = redis.call('SMEMBERS', held_key(engine))
table.sort(held)
for _, id in ipairs(held) do
  local job = read_job(id)
  if holds(job, engine, job and job.attempt) then
    if knows(job) then lose(job) else give_back(job) end
  end
end
redis.call('UNLINK', held_key(engine))
return 1
