"""Fine-tuning: text to blocks, the loop, checkpoints that survive a kill."""
