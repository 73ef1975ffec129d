-- A bot says what it has not shown to the end: bot, ids. They are put into its own set if that was
-- lost; but for those of which the record says that they are shown.
begin_even_when_full()
for i = 3, #ARGV do
  local key = job_key(ARGV[i])
  if redis.call('EXISTS', key) == 0 or redis.call('HEXISTS', key, 'owed') == 1 then
    add_expiring(own_key(ARGV[2]), ARGV[i])
  end
end
return 1
