"""Writing and locking files safely."""
