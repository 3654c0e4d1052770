"""Vector types and instructions for Numba, and scalars at addresses."""
