"""The soak: random people under random faults, and what became of every question."""
