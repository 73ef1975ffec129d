"""The tests: they mirror the source, and end_to_end/ drives the whole."""
