"""What bot and engine agree on: the messages, and the queue that carries them."""
