"""A machine whose speeds are known, so that nothing is measured."""

from __future__ import annotations

from pathlib import Path

from glmq.forecast.figures import AttentionSpeed, DiskSpeed, MemorySpeed, ProductSpeed, StepSpeed

WEIGHT, POSITION, OPERATION, STEP = 1e-9, 1e-6, 1e-6, 1e-3
DISK = 1e8


class FixedSpeeds:
    """In the place of `Speeds`; `seconds` are those of a weight by tensor type. asked: folders of disks."""

    seconds: dict[str, float] = {}  # noqa: RUF012
    asked: list[Path] = []  # noqa: RUF012

    def __init__(self, n_threads, *, again=False, progress=None):
        self.n_threads = n_threads

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def product(self, type_name, activations):
        one = self.seconds.get(type_name, WEIGHT)
        return ProductSpeed(one, 4 * one, 16 * one)

    def attention(self, n_heads, shape):
        return AttentionSpeed(POSITION, POSITION / 2)

    def step(self):
        return StepSpeed(OPERATION, 0.0, STEP)

    def memory(self):
        return MemorySpeed(1e10)

    def disk(self, file):
        return DiskSpeed(DISK)

    def disk_of_folder(self, folder):
        self.asked.append(folder)
        return DiskSpeed(DISK)
