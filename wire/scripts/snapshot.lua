-- A job and its text as one moment's truth: id. Reads only. Returns {the hash, flat; the text}.
-- A script, since Redis before 7 refuses even to read in a transaction when memory is full.
return { redis.call('HGETALL', job_key(ARGV[2])), redis.call('GET', text_key(ARGV[2])) or '' }
