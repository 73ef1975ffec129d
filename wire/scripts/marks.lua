-- Which watermark keys live engines mark with, by fingerprint. Reads only.
-- Returns {engine, fingerprint, engine, fingerprint, ...}.
return marks()
