-- A bot begins to follow its stream: bot. Returns the id of the newest hint, '0-0' where none is.
-- What has ended is in no index but the bot's own set, which can be lost. So what is still owed of
-- what the stream says has ended is put there again.
begin_even_when_full()
local bot = ARGV[2]
local hints = redis.call('XREVRANGE', events_key(bot), '+', '-', 'COUNT', settings.stream_max_entries)
for _, hint in ipairs(hints) do
  local id, kind = hint[2][2], hint[2][6] -- as `hint` writes them
  if kind == 'ended' and redis.call('HEXISTS', job_key(id), 'owed') == 1 then
    add_expiring(own_key(bot), id)
  end
end
return hints[1] and hints[1][1] or '0-0'
