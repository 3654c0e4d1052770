"""Memory that kernels read and write: aligned to cache lines, held alive by numpy arrays."""

from __future__ import annotations

import sys

import numpy as np

ALIGNMENT = 64


def aligned_zeros(n_bytes: int) -> np.ndarray:
    """Zeroed uint8 memory whose address is a multiple of 64. Pages are taken only when touched.

    Raises MemoryError when the system does not give it.
    """
    if n_bytes > sys.maxsize - ALIGNMENT:
        raise MemoryError(f"{n_bytes} bytes")
    memory = np.zeros(n_bytes + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + n_bytes]


def address_of(array: np.ndarray) -> int:
    """Address of an array's first element."""
    return int(array.ctypes.data)
