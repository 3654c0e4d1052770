"""Memory that kernels read and write: aligned to cache lines, held alive by numpy arrays.

With GLMQ_GUARD_PAGES=1 (POSIX), for tests, every such array ends where an unreadable page begins, so that a
kernel that goes past its end dies there and then instead of reading or spoiling what lies behind.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import numpy as np

ALIGNMENT = 64

ROW_PADDING = 64
"""Bytes behind rows and vectors of floats that kernels may touch, because they take 16 lanes at a time."""


def aligned_zeros(n_bytes: int) -> np.ndarray:
    """Zeroed uint8 memory whose address is a multiple of 64. Pages are taken only when touched.

    Raises MemoryError when the system does not give it.
    """
    if n_bytes > sys.maxsize - ALIGNMENT:
        raise MemoryError(f"{n_bytes} bytes")
    if guards_pages():
        return _before_guard_page(n_bytes)
    memory = np.zeros(n_bytes + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + n_bytes]


def zeros(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros of a shape and dtype in such memory."""
    count = math.prod(shape) if isinstance(shape, tuple) else shape
    array: np.ndarray = aligned_zeros(count * np.dtype(dtype).itemsize).view(dtype).reshape(shape)
    return array


def copy_of(values: Any, dtype: Any) -> np.ndarray:
    """A copy of an array or sequence in such memory."""
    values = np.asarray(values, dtype)
    copied = zeros(values.shape, dtype)
    copied[...] = values
    return copied


def guarded(array: np.ndarray) -> np.ndarray:
    """The array itself, or where pages are guarded a copy that ends at one."""
    return copy_of(array, array.dtype) if guards_pages() else array


def address_of(array: np.ndarray) -> int:
    """Address of an array's first element."""
    return int(array.ctypes.data)


def guards_pages() -> bool:
    """Whether arrays end at unreadable pages."""
    return os.environ.get("GLMQ_GUARD_PAGES") == "1" and sys.platform != "win32"


def _before_guard_page(n_bytes: int) -> np.ndarray:
    import ctypes
    import mmap

    whole = -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
    mapping = mmap.mmap(-1, whole + mmap.PAGESIZE)
    pages = np.frombuffer(mapping, np.uint8)
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    nothing_allowed = 0
    if mprotect(address_of(pages) + whole, mmap.PAGESIZE, nothing_allowed):
        raise MemoryError(os.strerror(ctypes.get_errno()))
    return pages[whole - n_bytes : whole]
