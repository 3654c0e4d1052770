"""Kernels of the row form beside those of another revision and llama.cpp's for AVX2, in turn in one process.

GLMQ_ISA=avx2 python bench/row_kernels.py [--types Q8_0,IQ3_S] [--revision COMMIT] [--peer] [--megabytes 512]
                                          [--threads 1] [--rounds 9]

Prints nanoseconds of a thread for 256 weights times one token and two, medians of all rounds, and how many
times as fast the kernels of this tree are, round by round. Weights are random and come from memory;
--megabytes 0: from the nearest cache. --peer: `vec_dot` of ggml's library for Haswell, which node-llama-cpp
brings (`bench/peers.py`); of two tokens each is a call of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numba
import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of, zeros
from glmq_kernels.formats.tensor_types import MATRIX_TYPES
from glmq_kernels.gemm.sizes import ROW_SCRATCH_BYTES, ROW_TOKENS, ROWS
from glmq_kernels.jit import isa, store
from glmq_kernels.ops.operands import Activation
from pairs import with_range
from peers import libraries

from glmq.forecast.random_weights import random_weights

ROOT = Path(__file__).parents[1]
COLUMNS = 4096
NEAR_ROWS = 8192
"""Times that one row is multiplied where it stays near."""
TYPES = "Q8_0,Q6_K,Q5_K,Q3_K,Q2_K,MXFP4,IQ4_NL,IQ4_XS,IQ3_S,IQ3_XXS,IQ2_S,IQ2_XS,IQ2_XXS"
GET_CODES = """
import pickle, sys
from glmq_kernels.jit import isa, store
pickle.dump(store.object_codes(sys.argv[2:], isa.current(), None), open(sys.argv[1], "wb"))
"""

Call = Callable[[int, int, int, int, int, int], None]
"""Of weights' address, bytes from a row to the next, rows, tokens, where results go, and scratch."""


class Traits(ctypes.Structure):
    """`ggml_type_traits_cpu`."""

    _fields_ = (
        ("from_float", ctypes.c_void_p),
        ("vec_dot", ctypes.c_void_p),
        ("vec_dot_type", ctypes.c_int),
        ("nrows", ctypes.c_int64),
    )


def kernel_names(types: Sequence[str]) -> list[str]:
    """Of the row form's products."""
    return [f"gemm.gemv.dot_rows:{name}" for name in types]


def kernels_of_revision(revision: str, types: Sequence[str]) -> dict[str, Any]:
    """The same kernels of another commit, which are compiled beside."""
    with tempfile.TemporaryDirectory() as folder:
        tree, codes = Path(folder) / "tree", Path(folder) / "codes"
        subprocess.run(
            ["git", "worktree", "add", "-q", "--detach", str(tree), revision], check=True, cwd=ROOT
        )
        try:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tree), str(tree / "kernels")))}
            command = [sys.executable, "-c", GET_CODES, str(codes), *kernel_names(types)]
            subprocess.run(command, check=True, env=environment, cwd=tree)
            found = pickle.loads(codes.read_bytes())
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], check=True, cwd=ROOT)
    return {name: store._load(name, code, isa.current()) for name, code in found.items()}


def call_of_kernel(kernel: Any, activation: Activation) -> Call:
    """A kernel of glmq on any number of rows."""
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 8)(kernel.address)
    numbers = copy_of(range(ROW_TOKENS), np.int64)

    def call(weights: int, stride: int, rows: int, n_tokens: int, out: int, scratch: int) -> None:
        place = address_of(numbers)
        function(weights, stride, rows, activation.address, place, n_tokens, out, scratch)

    return call


def call_of_ggml(type_name: str) -> Call:
    """ggml's function for a row, in a loop."""
    base, *_ = libraries("node-llama-cpp")
    ctypes.CDLL(str(base), ctypes.RTLD_GLOBAL)
    ggml = ctypes.CDLL(str(base.parent / "libggml-cpu-haswell.so"))
    ggml.ggml_cpu_init()
    ggml.ggml_get_type_traits_cpu.restype = ctypes.POINTER(Traits)
    traits = ggml.ggml_get_type_traits_cpu(int(gguf.GGMLQuantizationType[type_name])).contents
    of_token = ggml.ggml_get_type_traits_cpu(traits.vec_dot_type).contents
    token, x = zeros(2 * COLUMNS, np.uint8), np.random.default_rng(0).standard_normal(COLUMNS)
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(of_token.from_float)(
        address_of(copy_of(x, np.float32)), address_of(token), COLUMNS
    )
    dot = ctypes.CFUNCTYPE(None, ctypes.c_int, *[ctypes.c_int64] * 6, ctypes.c_int)(traits.vec_dot)

    @numba.njit(nogil=True)
    def all_rows(weights, stride, rows, out, token):  # type: ignore[no-untyped-def]
        for i in range(rows):
            dot(COLUMNS, out + 4 * i, 0, weights + i * stride, 0, token, 0, 1)

    def call(weights: int, stride: int, rows: int, n_tokens: int, out: int, scratch: int) -> None:
        for _ in range(n_tokens):
            all_rows(weights, stride, rows, out, address_of(token))

    return call


class Products:
    """Matrices of a type, and the time of products with them."""

    def __init__(self, type_name: str, megabytes: int, n_threads: int) -> None:
        row_bytes = MATRIX_TYPES[type_name].row_bytes(COLUMNS)
        some = random_weights(type_name, ROWS * COLUMNS, np.random.default_rng(0)).reshape(-1).view(np.uint8)
        self._stride = row_bytes if megabytes else 0
        self._rows = megabytes * 1_000_000 // row_bytes // n_threads // ROWS * ROWS or NEAR_ROWS
        self._weights = np.tile(some, -(-self._rows * n_threads * self._stride // some.nbytes) or 1)
        self._out = [zeros(self._rows + ROWS * ROW_TOKENS, np.float32) for _ in range(n_threads)]
        self._scratch = [aligned_zeros(ROW_SCRATCH_BYTES) for _ in range(n_threads)]

    def nanoseconds(self, call: Call, n_tokens: int) -> float:
        """Of one thread, while all have their share, for 256 weights."""

        def work(i: int) -> None:
            weights, out = address_of(self._weights) + i * self._rows * self._stride, address_of(self._out[i])
            call(weights, self._stride, self._rows, n_tokens, out, address_of(self._scratch[i]))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(1, len(self._out))]
        began = time.perf_counter_ns()
        for thread in threads:
            thread.start()
        work(0)
        for thread in threads:
            thread.join()
        return (time.perf_counter_ns() - began) / (self._rows * COLUMNS / 256)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--types", type=lambda text: text.split(","), default=TYPES.split(","))
    parser.add_argument("--revision")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    before = kernels_of_revision(args.revision, args.types) if args.revision else {}
    now = store.kernels(kernel_names(args.types))
    others = [args.revision] * bool(args.revision) + ["ggml"] * args.peer
    heads = " | ".join(f"{name} | times as fast" for name in others)
    print(f"| type, tokens | now | {heads} |\n|{' --- |' * (2 + 2 * len(others))}")
    for type_name, name in zip(args.types, kernel_names(args.types), strict=True):
        activation = Activation(ROW_TOKENS, COLUMNS, 2)
        activation.serve(type_name)
        calls = {"now": call_of_kernel(now[name], activation)}
        if args.revision:
            calls[args.revision] = call_of_kernel(before[name], activation)
        if args.peer:
            calls["ggml"] = call_of_ggml(type_name)
        products = Products(type_name, args.megabytes, args.threads)
        found: dict[tuple[str, int], list[float]] = {}
        for i in range(args.rounds + 1):
            for who in list(calls)[:: 1 if i % 2 else -1]:
                for n_tokens in (1, 2):
                    taken = products.nanoseconds(calls[who], n_tokens)
                    if i:  # the first time warms up
                        found.setdefault((who, n_tokens), []).append(taken)
        for n_tokens in (1, 2):
            ours = found["now", n_tokens]
            cells = [f"{statistics.median(ours):.1f}"]
            for other in others:
                theirs = found[other, n_tokens]
                ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
                cells += [f"{statistics.median(theirs):.1f}", with_range(ratios)]
            print(f"| {type_name}, {n_tokens} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
