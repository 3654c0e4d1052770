"""Random weights in the place of a file's, so that its program can be run without reading them.

Weights of a type lie in a ring of memory, one matrix after the other, and from its start again once it is
full. It is as large as all of them, or so large that no cache keeps what is met until it is met again, and
that few of the experts that a token meets lie at the same place.

    ring of Q4_K   | blk.0.attn_q | blk.0.attn_k | blk.0.ffn_gate | ...   | blk.3.ffn_up of expert 12 |
                   | of expert 13 | ...
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from glmq_kernels.arrays import ALIGNMENT, ROW_PADDING, aligned_zeros, guards_pages
from glmq_kernels.formats.tensor_types import KERNEL_TYPES, MATRIX_TYPES, TRANSCODED_TYPES
from glmq_kernels.formats.transcoding import transcode
from glmq_kernels.ops.operands import Matrix, matrix_of

from ..experts.offloaded_experts import STACKED
from ..gguf import GGUFFile
from ..system_memory import available_memory
from ..transcoded_tensors import TranscodedTensors
from ..weights import Weights
from .random_weights import EMBEDDING_SCALE, random_weights

RING_BYTES, SHARE_OF_FREE = 768 << 20, 1 / 8
"""Of the rings of all types together, and of the memory that is free, at most."""

PATTERN_WEIGHTS = 8 << 20
"""So many weights are made, and repeated in other memory."""

EMBEDDED_TOKENS = 1024
"""Of an embedding that is no head besides, the rows that are there: the first ones."""

EMBEDDING = "token_embd.weight"


class StandInWeights(Weights):
    """Weights with the shapes and types of a file's. Only tokens below `n_tokens` have an embedding.

    transcodes: whether types are those that weights are transcoded to.
    """

    def __init__(self, file: GGUFFile, *, transcodes: bool = False) -> None:
        super().__init__(file, transcoded=TranscodedTensors() if transcodes else None)
        self._rings: dict[str, _Ring] = {}
        free = available_memory()
        room = RING_BYTES if free is None else min(RING_BYTES, SHARE_OF_FREE * free)
        self._share = min(1.0, room / file.n_bytes)
        rows = file.tensor(EMBEDDING).shape[0]
        self.n_tokens = min(rows, EMBEDDED_TOKENS) if "output.weight" in file.tensors else rows

    def matrix(
        self, name: str, rows: int, columns: int, *, sparse: bool = False, as_stored: bool = False
    ) -> Matrix:
        """A matrix (rows, columns)."""
        self.check(name, (rows, columns))
        type_name = self.type_in_memory(name, as_stored=sparse or as_stored)
        if name == EMBEDDING:
            n_bytes = MATRIX_TYPES[type_name].row_bytes(self.n_tokens * columns)
            return matrix_of(_memory(type_name, n_bytes, EMBEDDING_SCALE), rows, columns, type_name)
        return self._matrix(type_name, rows, columns)

    def matrix_of_heads(self, name: str, n_heads: int, rows: int, columns: int) -> Matrix:
        """The first of matrices (n_heads, rows, columns)."""
        self.check(name, (n_heads, rows, columns))
        type_name = self.type_in_memory(name)
        return matrix_of(self._take(type_name, n_heads * rows * columns), rows, columns, type_name)

    def vector(self, name: str, size: int) -> np.ndarray:
        """A float32 (size,) vector: zeros of what is added, ones of what is multiplied."""
        self.check(name, (size,))
        padded = aligned_zeros(4 * size + ROW_PADDING).view(np.float32)
        padded[:size] = 0.0 if name.endswith(".bias") else 1.0
        return padded[:size]

    def stacked(self, name: str, count: int, rows: int, columns: int, n_each: int = 1) -> list[Matrix]:
        """The matrices of a tensor (count, n_each * rows, columns)."""
        self.check(name, (count, n_each * rows, columns))
        type_name = self.type_in_memory(name)
        return [self._matrix(type_name, rows, columns) for _ in range(count * n_each)]

    def rewrite(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` gives for one layer is that of all."""
        return super().rewrite(name.split(".", 2)[-1], make)

    def _matrix(self, type_name: str, rows: int, columns: int) -> Matrix:
        return matrix_of(self._take(type_name, rows * columns), rows, columns, type_name)

    def _take(self, type_name: str, n: int) -> np.ndarray:
        if type_name not in self._rings:
            sizes = []
            for name, info in self.file.tensors.items():
                if name != EMBEDDING and type_name in (info.type, self.type_in_memory(name)):
                    n_bytes = MATRIX_TYPES[type_name].row_bytes(info.n_elements)
                    sizes.append((n_bytes, n_bytes // (info.shape[0] if STACKED.fullmatch(name) else 1)))
            of_all, largest = sum(size for size, _ in sizes), max(each for _, each in sizes)
            self._rings[type_name] = _Ring(type_name, max(int(self._share * of_all), largest))
        return self._rings[type_name].take(MATRIX_TYPES[type_name].row_bytes(n))


class _Ring:
    """Memory full of weights of a type, given out piece by piece, and again from the start."""

    def __init__(self, type_name: str, n_bytes: int) -> None:
        # A piece begins where a block does, and where a cache line does.
        self._step = math.lcm(MATRIX_TYPES[type_name].block_bytes, ALIGNMENT)
        self._memory = _memory(type_name, n_bytes)
        self._next = 0

    def take(self, n_bytes: int) -> np.ndarray:
        """A piece, uint8 (n_bytes,)."""
        if self._next + n_bytes > len(self._memory):
            self._next = 0
        piece = self._memory[self._next : self._next + n_bytes]
        self._next += -(-n_bytes // self._step) * self._step
        return piece


def _pattern(type_name: str, n: int, scale: float) -> np.ndarray:
    """Random weights of a type, uint8."""
    random = np.random.default_rng(1)
    if type_name in KERNEL_TYPES:
        return random_weights(type_name, n, random, scale)
    source = next(name for name, kind in TRANSCODED_TYPES.items() if kind.name == type_name)
    out = aligned_zeros(MATRIX_TYPES[type_name].row_bytes(n))
    transcode(random_weights(source, n, random, scale), source, out)
    return out


def _memory(type_name: str, n_bytes: int, scale: float = 1.0) -> np.ndarray:
    """Memory of random weights of a type, uint8, in pages of the size that those of a mapped file have."""
    kind = MATRIX_TYPES[type_name]
    n = min(PATTERN_WEIGHTS, n_bytes // kind.block_bytes * kind.block)
    pattern = _pattern(type_name, n, scale)
    if guards_pages():
        return np.resize(pattern, n_bytes)
    try:
        mapping = mmap.mmap(-1, n_bytes + ROW_PADDING)
    except OSError:
        raise MemoryError(f"{n_bytes} bytes") from None
    if sys.platform == "linux":
        with suppress(OSError):  # where the system has no huge pages
            mapping.madvise(mmap.MADV_NOHUGEPAGE)
    memory = np.frombuffer(mapping, np.uint8)[:n_bytes]
    for first in range(0, n_bytes, len(pattern)):
        memory[first : first + len(pattern)] = pattern[: n_bytes - first]
    return memory
