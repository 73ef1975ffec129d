-- How many jobs will begin before this one: id. Reads only. Returns -1 for one that does not wait.
-- Suspects go first. Then users take turns, one job each: before the job at index i of its line
-- go i jobs of its own user, and of each other user i, or i + 1 if that user's turn comes sooner.
local job = read_job(ARGV[2])
if not job or job.state ~= 'waiting' then return -1 end
local function index(list, item)
  for i, each in ipairs(redis.call('LRANGE', list, 0, -1)) do
    if each == item then return i - 1 end
  end
  return -1
end
if job.suspect == '1' then return index(RETRY, job.id) end

local mine = index(line_key(job.user), job.id)
if mine < 0 then return -1 end
local ahead = redis.call('LLEN', RETRY) + mine
local turns = mine + 1 -- of each user whose turn comes before mine
for _, user in ipairs(redis.call('LRANGE', RING, 0, -1)) do
  if user == job.user then
    turns = mine
  else
    ahead = ahead + math.min(turns, redis.call('LLEN', line_key(user)))
  end
end
return ahead
