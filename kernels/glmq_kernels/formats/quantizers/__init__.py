"""Kernels that quantize rows of weights, one module a family of tensor types; `table.py` lists them."""
