-- What live engines offer. Reads only. Returns the models of each, one a line, its default first.
local offers = {}
for _, engine in ipairs(live_engines()) do
  offers[#offers + 1] = redis.call('HGET', MODELS, engine) or ''
end
return offers
