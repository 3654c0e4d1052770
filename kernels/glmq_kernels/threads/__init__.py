"""The tape of a forward pass and the threads that run it."""
