"""Make grid_quantizers.npz: what llama.cpp's quantizer makes of a sample of weights, for every grid type.

Needs xllamacpp, whose library has the functions of ggml.h. Of each type there are the blocks with importance
and, where the type allows it, without (`TYPE alone`). The sample is kept beside them.

python tests/golden/make_grid_quantizers_golden.py
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent.parent / "kernels")]

from tests.kernels.grid_sample import ALONE, GOLDEN, TYPES, sample


def library() -> ctypes.CDLL:
    """ggml's functions."""
    import xllamacpp

    [path] = Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")
    found = ctypes.CDLL(str(path))
    long, pointer = ctypes.c_int64, ctypes.c_void_p
    found.ggml_quantize_chunk.argtypes = (ctypes.c_int, pointer, pointer, long, long, long, pointer)
    found.ggml_quantize_chunk.restype = ctypes.c_size_t
    return found


def quantized(
    ggml: ctypes.CDLL, weights: np.ndarray, type_name: str, importance: np.ndarray | None
) -> np.ndarray:
    """Rows of weights as bytes of a type."""
    kind = gguf.GGMLQuantizationType[type_name]
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = weights.shape
    out = np.zeros((rows, columns // block * block_bytes), np.uint8)
    address = None if importance is None else importance.ctypes.data
    ggml.ggml_quantize_init(int(kind))
    written = ggml.ggml_quantize_chunk(
        int(kind), weights.ctypes.data, out.ctypes.data, 0, rows, columns, address
    )
    assert written == out.nbytes
    return out


def main() -> None:
    """Make the file."""
    ggml, (weights, importance) = library(), sample()
    found = {name: quantized(ggml, weights, name, importance) for name in TYPES}
    found |= {f"{name} alone": quantized(ggml, weights, name, None) for name in ALONE}
    np.savez_compressed(GOLDEN, weights=weights, importance=importance, **found)


if __name__ == "__main__":
    main()
