"""The quantizer of llama.cpp, called in its library, which comes with the wheel `xllamacpp`."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import gguf
import numpy as np


@functools.cache
def _library() -> ctypes.CDLL:
    """The functions of ggml.h."""
    import xllamacpp

    [path] = Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")
    found = ctypes.CDLL(str(path))
    long, pointer = ctypes.c_int64, ctypes.c_void_p
    found.ggml_quantize_chunk.argtypes = (ctypes.c_int, pointer, pointer, long, long, long, pointer)
    found.ggml_quantize_chunk.restype = ctypes.c_size_t
    return found


def quantized(weights: np.ndarray, type_name: str, importance: np.ndarray | None) -> np.ndarray:
    """Rows of weights (float32) as bytes of a type. Runs on the calling thread, without the GIL."""
    kind = gguf.GGMLQuantizationType[type_name]
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = weights.shape
    out = np.zeros((rows, columns // block * block_bytes), np.uint8)
    address = None if importance is None else importance.ctypes.data
    _library().ggml_quantize_init(int(kind))  # the tables of the type
    written = _library().ggml_quantize_chunk(
        int(kind), weights.ctypes.data, out.ctypes.data, 0, rows, columns, address
    )
    assert written == out.nbytes
    return out
