"""Reading the files of a model into the process's own memory, where nothing that happens to them matters."""

from __future__ import annotations

from glmq_kernels.jit.compilation import Progress

from .experts.disk import Disk
from .gguf import GGUFFile


def hold_in_memory(file: GGUFFile, progress: Progress | None = None) -> None:
    """Read all files of a model in order and use what was read from now on.

    progress(text, fraction): called now and then. Raises GlmqError when a file cannot be read or has changed.
    """
    total, done = sum(file.sizes), 0

    def told(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        if progress:
            text = f"reading the model: {done / 1e9:.1f} of {total / 1e9:.1f} GB"
            progress(text, done / total)

    told(0)
    disk = Disk(file.paths)
    try:
        file.hold([disk.load_file(i, size, told) for i, size in enumerate(file.sizes)])
    finally:
        disk.close()
