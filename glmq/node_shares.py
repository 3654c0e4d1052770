"""Which bytes of a model's files belong to which node of memory: equal shares of every matrix's rows.

These are the rows that threads near the node take first (`glmq_kernels/threads/work_units.py`):

    file     | header | matrix                 | expert 0   | expert 1   | ...
    node     | 0      | 0     | 1              | 0   | 1    | 0   | 1    | ...
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from glmq_kernels.disk_reads.disk_reader import ALIGNMENT
from glmq_kernels.gemm.sizes import ROWS

from .gguf import GGUFFile
from .gguf.tensors import TensorInfo

EXPERTS = "_exps.weight"
"""How the names of stacked experts end, each of which is a matrix by itself."""

GATE_AND_UP = "ffn_gate_up_exps.weight"
"""Of experts whose gate and up are one tensor and two matrices."""


def share_of_rows(n_rows: int, node: int, n_nodes: int) -> tuple[int, int]:
    """The first row of a node's share of a matrix, and the one behind it: whole units of `ROWS` rows."""
    units = -(-n_rows // ROWS)
    first, last = (min(n_rows, ROWS * (units * each // n_nodes)) for each in (node, node + 1))
    return first, last


class Piece(NamedTuple):
    """A part of a file: its first byte, the one behind it, and the node of memory that it belongs to."""

    first: int
    end: int
    node: int


def node_pieces(file: GGUFFile, index: int, n_nodes: int) -> list[Piece]:
    """A file of a model in pieces that together are all of it, in order.

    Pieces begin at multiples of `ALIGNMENT`, so a row at a border may be the neighbour's.
    """
    infos = sorted((info for info in file.tensors.values() if info.file_index == index), key=_offset)
    found: list[tuple[int, int]] = []
    for first, node in [(0, 0), *(each for info in infos for each in _shares(info, n_nodes))]:
        first = first // ALIGNMENT * ALIGNMENT
        while found and found[-1][0] >= first:
            found.pop()
        if not found or found[-1][1] != node:
            found.append((first, node))
    ends = [first for first, _ in found[1:]] + [file.sizes[index]]
    return [Piece(first, end, node) for (first, node), end in zip(found, ends, strict=True)]


def _offset(info: TensorInfo) -> int:
    return info.offset


def _shares(info: TensorInfo, n_nodes: int) -> Iterator[tuple[int, int]]:
    """Where each node's share of each of a tensor's matrices begins, and the node."""
    if len(info.shape) < 2:
        yield info.offset, 0
        return
    n_matrices, rows = 1, math.prod(info.shape[:-1])
    if info.name.endswith(EXPERTS):
        n_matrices = info.shape[0] * (2 if info.name.endswith(GATE_AND_UP) else 1)
        rows //= n_matrices
    row_bytes = info.n_bytes // (n_matrices * rows)
    for matrix in range(n_matrices):
        for node in range(n_nodes):
            first, last = share_of_rows(rows, node, n_nodes)
            if first < last:
                yield info.offset + (matrix * rows + first) * row_bytes, node
