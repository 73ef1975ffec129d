"""Owns the zero-shot evaluations of the GPT-2 paper: data in, metrics out. Serves nobody."""
