"""What is compiled. Only the compiler process imports this package, and with it Numba."""
