"""Measurements, run by hand. Their figures go into docs/log.md; no test runs them."""
