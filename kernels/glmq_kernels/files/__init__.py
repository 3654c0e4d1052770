"""Writing files safely, and reading their strings."""
