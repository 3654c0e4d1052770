"""Memory and cores that converting takes: one layer of the 355B models, with its experts, and both tables.

python bench/converting.py [--type NAME] [--target-bpw BITS] [--importance] [--folder FOLDER]

With --target-bpw types are chosen by the tensors' errors first, which is timed by itself. The weights are
random bfloat16 and are read from memory; a file of at most 8 GB is written into the folder, and removed.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
from glmq_convert import glm4_moe
from glmq_convert.gguf_writer import write_gguf
from glmq_convert.importance import Importance, TensorSums
from glmq_convert.mixes import TypeChoice, choose_types, untyped_with_importance, with_importance
from glmq_convert.target_size import TargetSize, types_for_size
from glmq_kernels.files.file_writing import check_target
from synthetic import air_config, shapes

LAYER = replace(
    air_config(1, 151552), hidden_size=5120, intermediate_size=12288, first_k_dense_replace=0,
    n_routed_experts=160, moe_intermediate_size=1536,
)  # fmt: skip
"""GLM-4.6 with a single layer."""


class Bfloat16Weights(dict[str, tuple[int, ...]]):
    """A checkpoint of random weights (see `glmq_convert.plan.Weights`)."""

    def __init__(self) -> None:
        super().__init__(shapes(LAYER))
        floats = np.random.default_rng(0).standard_normal(4 << 20, np.float32) * np.float32(0.02)
        self._bits = (floats.view(np.uint32) >> 16).astype(np.uint16)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions, outermost first."""
        return self[name]

    def item_bytes(self, name: str) -> int:
        """Bytes of a weight."""
        return 2

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """Rows, copied into the buffer as from a file."""
        columns = self[name][-1]
        size = n_rows * columns
        out = buffer[: 2 * size].view(np.uint16)
        first = first_row * columns % (self._bits.size - size)
        out[:] = self._bits[first : first + size]
        return out.reshape(n_rows, columns)


def main() -> None:
    """Write the file, and print what it took."""
    parser = ArgumentParser()
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--target-bpw", type=float)
    parser.add_argument("--importance", action="store_true")
    parser.add_argument("--folder", default=None)
    arguments = parser.parse_args()
    weights = Bfloat16Weights()
    planned = glm4_moe.plan_tensors(LAYER, weights, weights, n_mtp_layers=0)
    importance = None
    if arguments.importance:
        rng = np.random.default_rng(1)
        sums = {}
        for each in planned:
            n = each.shape[0] if len(each.shape) > 2 else 1
            sums[each.name] = TensorSums(rng.random((n, each.columns), np.float32), np.ones(n, np.int64))
        importance = Importance("random", (), 1, 512, sums)
    choice = TypeChoice(arguments.type)
    if arguments.target_bpw:
        began = time.perf_counter()
        size = TargetSize(bits_per_weight=arguments.target_bpw)
        choice = types_for_size(untyped_with_importance(planned, importance), weights, size, choice)
        print(f"types of {len(planned)} tensors chosen in {time.perf_counter() - began:.1f} s")
    tensors, _ = with_importance(choose_types(planned, choice, importance is not None), importance)
    header = gguf.GGUFWriter(None, glm4_moe.ARCHITECTURE)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        began, used = time.perf_counter(), os.times()
        write_gguf(check_target(Path(folder) / "layer.gguf"), header, tensors, weights)
        seconds, now = time.perf_counter() - began, os.times()
    cpu = now.user + now.system - used.user - used.system
    n_weights = sum(int(np.prod(each.shape, dtype=np.int64)) for each in tensors)
    n_bytes = sum(each.n_bytes for each in tensors)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    name = f"{arguments.target_bpw} bits" if arguments.target_bpw else arguments.type
    print(f"{name}: {n_weights / 1e9:.2f} billion weights, {n_bytes / 1e9:.2f} GB", end=", ")
    print(f"{n_weights / 1e6 / seconds:.0f} million weights/s, {cpu / seconds:.2f} cores busy", end=", ")
    print(f"{memory / 1e6:.2f} GB of memory at most")


if __name__ == "__main__":
    main()
