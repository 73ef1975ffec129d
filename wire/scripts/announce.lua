-- Note what an engine says of itself: engine, fingerprint of the key it marks with ('' for none),
-- version. Returns {engine, what it said, ...} of all live engines. An engine that gave no sign of
-- life is not noted: nobody would ever forget it.
begin_even_when_full()
local engine, said = ARGV[2], ARGV[3] .. '\n' .. ARGV[4]
if redis.call('ZSCORE', ENGINES, engine) then redis.call('HSET', MARKS, engine, said) end
return marks()
