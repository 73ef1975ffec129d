"""The bot under load: what many people at once do to its answers, heartbeats and memory."""
