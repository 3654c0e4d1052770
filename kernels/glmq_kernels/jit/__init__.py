"""Compiling kernels to machine code, once, and loading it."""
