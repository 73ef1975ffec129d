-- Note which watermark key an engine marks with: engine, fingerprint ('' for none).
-- Returns {engine, fingerprint, ...} of all live engines. An engine that gave no sign of life is not
-- noted: nobody would ever forget it.
begin_even_when_full()
local engine, fingerprint = ARGV[2], ARGV[3]
if redis.call('ZSCORE', ENGINES, engine) then redis.call('HSET', MARKS, engine, fingerprint) end
return marks()
