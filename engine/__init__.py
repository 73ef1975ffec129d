"""GPT-2: load, schedule, run, sample, train. Knows nothing of Discord."""
