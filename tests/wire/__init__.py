"""The messages and the queue, against a real server."""
