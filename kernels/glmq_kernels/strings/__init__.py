"""Finding the strings of GGUF files."""
