"""Measures the watermark: how surely it is found, how seldom where it is not, and what it costs."""
