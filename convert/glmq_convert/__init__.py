"""Floor 2: checkpoints become GGUF files."""
