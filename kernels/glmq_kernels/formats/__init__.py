"""Tensor types: their blocks, and the way from floats and back."""
