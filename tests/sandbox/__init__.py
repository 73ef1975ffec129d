"""The local Discord and what it starts."""
