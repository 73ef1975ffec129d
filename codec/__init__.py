"""GPT-2's byte-level BPE: text to token ids and back. Knows nothing of models or queues."""
