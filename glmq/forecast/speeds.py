"""What this machine does in a second: measured when it is first asked for, and kept in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import check_target, write_file
from glmq_kernels.jit import isa
from glmq_kernels.jit.cache_folder import cache_folder
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.jit.source_hash import package_hash
from glmq_kernels.ops.attention.cache_layout import CacheShape
from glmq_kernels.threads.tape import ActivationType
from glmq_kernels.threads.thread_pool import ThreadPool

from .. import __version__
from ..gguf import GGUFFile
from .figures import AttentionSpeed, DiskSpeed, MemorySpeed, StepSpeed

Figures = TypeVar("Figures", AttentionSpeed, StepSpeed, MemorySpeed, DiskSpeed)


TOLD: dict[type, str] = {
    StepSpeed: "steps of the model",
    AttentionSpeed: "attention far back",
    MemorySpeed: "memory",
    DiskSpeed: "the disk",
}
"""What is being measured, for people to read."""


class Speeds:
    """The speeds of this machine with a number of threads. Close it, or use it in a `with` statement.

    again: measure what is kept, too. progress(text, fraction) is told what is being measured. measured:
    whether anything was. Methods raise GlmqError where something cannot be measured.
    """

    def __init__(self, n_threads: int, *, again: bool = False, progress: Progress | None = None) -> None:
        self.n_threads = n_threads
        self.measured = False
        self._progress = progress
        self._machine = {
            "cpu": cpu_name(), "instructions": str(isa.current()), "threads": n_threads, "glmq": __version__,
            "kernels": package_hash(),
        }  # fmt: skip
        self._kept: dict[str, Sequence[float]] = {} if again else _read(self._path(), self._machine)
        self._thread_pool: ThreadPool | None = None

    def step(
        self,
        file: GGUFFile,
        cache_type: str,
        activations: ActivationType,
        n_prompt: int,
        *,
        transcodes: bool = False,
    ) -> StepSpeed:
        """Of steps of a model: of one token, and of a batch of `n_prompt`."""
        from .rehearsal import step_speed

        how = f"{cache_type} {activations}{' transcoded' if transcodes else ''}"
        return self._of(
            StepSpeed,
            f"steps of {_shape(file)} {how}, {n_prompt} tokens",
            lambda: step_speed(
                file, self.n_threads, cache_type, activations, n_prompt, self._progress, transcodes=transcodes
            ),
        )

    def attention(self, n_heads: int, shape: CacheShape) -> AttentionSpeed:
        """Of one layer with so many query heads."""
        from .measuring import attention_speed

        place = "in keys" if shape.values_in_keys else "apart"
        what = (
            f"attention {n_heads} {shape.n_kv_heads} {shape.key_dim} {shape.value_dim} {shape.type} {place}"
        )
        return self._of(AttentionSpeed, what, lambda: attention_speed(self._pool(), n_heads, shape))

    def memory(self) -> MemorySpeed:
        """Of reading memory."""
        from .measuring import memory_speed

        return self._of(MemorySpeed, "memory", lambda: memory_speed(self._pool()))

    def disk(self, file: GGUFFile) -> DiskSpeed:
        """Of the disk that a file is on."""
        from .disk_speed import disk_speed

        device = os.stat(file.paths[0]).st_dev
        return self._of(DiskSpeed, f"disk {device}", lambda: disk_speed(file))

    def disk_of_folder(self, folder: Path) -> DiskSpeed:
        """Of the disk that a folder is on, which is there or will be made."""
        from .disk_speed import folder_speed

        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return self._of(DiskSpeed, f"disk {folder.stat().st_dev}", lambda: folder_speed(folder))

    def close(self) -> None:
        """End the threads, and keep what was measured, if the cache folder can be written to."""
        if self._thread_pool is not None:
            self._thread_pool.close()
            self._thread_pool = None
        if self.measured:
            with contextlib.suppress(OSError, GlmqError):
                _write(self._path(), self._machine, self._kept)

    def __enter__(self) -> Speeds:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _of(self, kind: type[Figures], what: str, measure: Callable[[], Figures]) -> Figures:
        kept = self._kept.get(what)
        if kept is None or len(kept) != len(kind.__dataclass_fields__):
            if self._progress:
                self._progress(f"measuring this machine: {TOLD[kind]}", 0.0)
            kept = self._kept[what] = astuple(measure())
            self.measured = True
        return kind(*kept)

    def _pool(self) -> ThreadPool:
        if self._thread_pool is None:
            self._thread_pool = ThreadPool(self.n_threads)
        return self._thread_pool

    def _path(self) -> Path | None:
        """Where the figures are kept; None where there is no folder for it."""
        try:
            folder = cache_folder()
        except GlmqError:
            return None
        name = hashlib.sha256(json.dumps(self._machine, sort_keys=True).encode()).hexdigest()[:20]
        return folder / "speeds" / f"{name}.json"


def _shape(file: GGUFFile) -> str:
    """The same for models whose steps are of the same kind: 20 hexadecimal digits."""
    numbers = [(key, value) for key, value in file.metadata.items() if isinstance(value, int | float)]
    tensors = [(info.name, info.type, info.shape) for info in file.tensors.values()]
    told = repr((file.text("general.architecture"), sorted(numbers), sorted(tensors)))
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def cpu_name() -> str:
    """What the processor calls itself."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()


def _read(path: Path | None, machine: dict[str, object]) -> dict[str, Sequence[float]]:
    """Figures that were kept of the same machine; none where they are not whole."""
    try:
        kept = json.loads(path.read_text()) if path else {}
        if kept["machine"] != machine:
            return {}
        return {
            what: [float(figure) for figure in figures]
            for what, figures in kept["figures"].items()
            if all(math.isfinite(figure) and figure >= 0 for figure in figures)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(path: Path | None, machine: dict[str, object], figures: dict[str, Sequence[float]]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": machine, "figures": figures}, indent=1)
        write_file(check_target(path, force=True), text.encode())
