"""Reading the files of a model into the process's own memory, where nothing that happens to them matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing

import numpy as np
from glmq_kernels.disk_reads.disk_reader import DiskReader, aligned_memory, room_for
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.machine.numa import MemoryNode

from .experts.disk import Disk
from .gguf import GGUFFile
from .node_shares import Piece, node_pieces

STEP = 256 << 20
"""Bytes, or the least number of pieces that have so many, that are read before the next step."""


def hold_in_memory(
    file: GGUFFile, progress: Progress | None = None, nodes: Sequence[MemoryNode] = ()
) -> None:
    """Read all files of a model in order and use what was read from now on.

    progress(text, fraction): called now and then. nodes: of memory, among which matrices are shared out by
    rows. Raises GlmqError when a file cannot be read or has changed.
    """
    total, done = sum(file.sizes), 0

    def told(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        if progress:
            text = f"reading the model: {done / 1e9:.1f} of {total / 1e9:.1f} GB"
            progress(text, done / total)

    told(0)
    readers = [DiskReader(processors=node.processors) for node in nodes] if len(nodes) > 1 else [None]
    with ExitStack() as open_disks:
        disks = [open_disks.enter_context(closing(Disk(file.paths, reader))) for reader in readers]
        if len(disks) == 1:
            file.hold([disks[0].load_file(i, size, told) for i, size in enumerate(file.sizes)])
        else:
            file.hold([_shared_out(file, i, disks, told) for i in range(len(file.sizes))])


def _shared_out(file: GGUFFile, index: int, disks: Sequence[Disk], told: Callable[[int], None]) -> np.ndarray:
    """A file's bytes, uint8, each read first, and so placed, by threads near the node that it belongs to.

    In small pages, for a large one would belong to a single node.
    """
    size = file.sizes[index]
    memory = aligned_memory(room_for(size), large_pages=False)
    for step in _steps(node_pieces(file, index, len(disks))):
        for node, disk in enumerate(disks):
            disk.read_pieces(index, [(each.first, each.end) for each in step if each.node == node], memory)
        told(step[-1].end - step[0].first)
    return memory[:size]


def _steps(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    step: list[Piece] = []
    for piece in pieces:
        step.append(piece)
        if piece.end - step[0].first >= STEP:
            yield step
            step = []
    if step:
        yield step
