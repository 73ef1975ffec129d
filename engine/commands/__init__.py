"""The commands of `python -m engine`: one module each, a `Command` and what it does."""
