"""Write imatrix.npz: what matrices of small models meet in llama.cpp, for `test_observed_inputs.py`.

    python tests/golden/make_imatrix_golden.py

Needs xllamacpp, whose library has all of llama.cpp. Its callback for each operation of the graph is asked
for the inputs of matrix products, as llama-imatrix does it, and their squares are added up in float64.
Structures are laid out as in the version that is named below.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2])]

import xllamacpp

from tests.glmq.small_models import write_deepseek2, write_glm4moe
from tests.glmq.test_observed_inputs import GOLDEN, GOLDEN_BLOCK, some_tokens

VERSION = "2026.10.11549"
MUL_MAT, MUL_MAT_ID = b"MUL_MAT", b"MUL_MAT_ID"
F32, I32 = 0, 26


class Tensor(ctypes.Structure):
    """A `ggml_tensor`, as far as it is read."""

    _fields_ = (
        ("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4), ("op", ctypes.c_int), ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32), ("src", ctypes.c_void_p * 10), ("view_src", ctypes.c_void_p),
        ("view_offset", ctypes.c_size_t), ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64),
    )  # fmt: skip


class Parameters(ctypes.Structure):
    """Parameters of a model or a context, which are passed by value; larger than any of them."""

    _fields_ = (("bytes", ctypes.c_ubyte * 512),)


class ContextParameters(ctypes.Structure):
    """What is set of a context's."""

    _fields_ = (
        ("n_ctx", ctypes.c_uint32), ("n_batch", ctypes.c_uint32), ("n_ubatch", ctypes.c_uint32),
        ("others", ctypes.c_int32 * 10), ("flash_attention", ctypes.c_int), ("rope", ctypes.c_int32 * 8),
        ("callback", ctypes.c_void_p), ("user_data", ctypes.c_void_p), ("type_k", ctypes.c_int),
        ("type_v", ctypes.c_int), ("rest", ctypes.c_ubyte * 400),
    )  # fmt: skip


class Batch(ctypes.Structure):
    """A `llama_batch`."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8)),
    )  # fmt: skip


def library():
    """llama.cpp, with the results of its functions declared."""
    found = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    found.llama_model_default_params.restype = Parameters
    found.llama_context_default_params.restype = ContextParameters
    found.llama_model_load_from_file.restype = ctypes.c_void_p
    found.llama_model_load_from_file.argtypes = (ctypes.c_char_p, Parameters)
    found.llama_init_from_model.restype = ctypes.c_void_p
    found.llama_init_from_model.argtypes = (ctypes.c_void_p, ContextParameters)
    found.llama_batch_init.restype = Batch
    found.llama_decode.argtypes = (ctypes.c_void_p, Batch)
    found.llama_free.argtypes = found.llama_model_free.argtypes = (ctypes.c_void_p,)
    found.ggml_op_name.restype = ctypes.c_char_p
    return found


def values(tensor, dtype):
    """A tensor's values, outermost dimension first, however it lies in memory."""
    size = sum((n - 1) * step for n, step in zip(tensor.ne, tensor.nb, strict=True)) + 4
    memory = np.frombuffer((ctypes.c_ubyte * size).from_address(tensor.data), np.uint8)
    return np.lib.stride_tricks.as_strided(
        memory[: size // 4 * 4].view(dtype), tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    )


class Observer:
    """Adds up the inputs of matrix products in blocks, by tensor and matrix."""

    def __init__(self, llama):
        self.sums = defaultdict(lambda: defaultdict(float))
        self.counts = defaultdict(lambda: defaultdict(int))
        self._llama = llama
        self.callback = ctypes.CFUNCTYPE(
            ctypes.c_bool, ctypes.POINTER(Tensor), ctypes.c_bool, ctypes.c_void_p
        )(self._observe)

    def _observe(self, result, ask, _):
        kind = self._llama.ggml_op_name(result.contents.op)
        weight, rows = (
            ctypes.cast(result.contents.src[i], ctypes.POINTER(Tensor)).contents
            if kind in (MUL_MAT, MUL_MAT_ID)
            else None
            for i in (0, 1)
        )
        wanted = weight is not None and weight.name.startswith(b"blk.") and rows.type == F32
        if ask or not wanted:
            return wanted
        x = values(rows, np.float32).astype(np.float64)
        name = weight.name.decode()
        if kind == MUL_MAT:
            for matrix in range(weight.ne[2]):
                met = x[0] if weight.ne[2] == 1 else x[0, matrix : matrix + 1]
                self._add(name, matrix, met.reshape(-1, x.shape[-1]))
            return True
        chosen = ctypes.cast(result.contents.src[2], ctypes.POINTER(Tensor)).contents
        for token, experts in enumerate(values(chosen, np.int32)[0, 0]):
            for choice, expert in enumerate(experts):
                self._add(name, int(expert), x[0, token, choice % x.shape[2]][None])
        return True

    def _add(self, name, matrix, rows):
        self.sums[name][matrix] += (rows**2).sum(0)
        self.counts[name][matrix] += len(rows)


def observe(llama, path, tokens):
    """What the matrices of a file meet of a text, in float32 throughout."""
    observer = Observer(llama)
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = len(tokens)
    parameters.flash_attention = 0
    parameters.type_k = parameters.type_v = F32
    parameters.callback = ctypes.cast(observer.callback, ctypes.c_void_p)
    context = llama.llama_init_from_model(model, parameters)
    batch = llama.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = int(token), i, 1, 1
        batch.seq_id[i][0] = 0
    if llama.llama_decode(context, batch):
        raise RuntimeError("llama.cpp did not evaluate the text")
    llama.llama_free(context)
    llama.llama_model_free(model)
    return observer


def main():
    """Ask llama.cpp, and keep one block of each model."""
    if xllamacpp.__version__ != VERSION:
        raise RuntimeError(f"this is made for xllamacpp {VERSION}, not {xllamacpp.__version__}")
    llama = library()
    llama.llama_backend_init()
    found = {}
    for kind, write in (("glm4moe", write_glm4moe), ("deepseek2", write_deepseek2)):
        with tempfile.TemporaryDirectory() as folder:
            observer = observe(llama, write(Path(folder) / "model.gguf"), some_tokens(64))
        for name, sums in observer.sums.items():
            if name.startswith(GOLDEN_BLOCK):
                matrices = range(max(sums) + 1)
                counts = [observer.counts[name][matrix] for matrix in matrices]
                columns = len(next(iter(sums.values())))
                rows = [sums[matrix] if counts[matrix] else np.zeros(columns) for matrix in matrices]
                found[f"{kind} {name} sums"] = np.array(rows, np.float32)
                found[f"{kind} {name} counts"] = np.array(counts)
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    main()
