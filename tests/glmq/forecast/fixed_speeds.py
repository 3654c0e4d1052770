"""A machine whose speeds are known, so that nothing is measured."""

from __future__ import annotations

from pathlib import Path

from glmq.forecast.figures import AttentionSpeed, DiskSpeed, MemorySpeed, StepSpeed

STEP, BATCH_TOKEN, POSITION = 1e-2, 1e-3, 1e-6
DISK = 1e8


class FixedSpeeds:
    """In the place of `Speeds`. asked: folders of disks."""

    asked: list[Path] = []  # noqa: RUF012

    def __init__(self, n_threads, *, again=False, progress=None):
        self.n_threads = n_threads

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def step(self, file, cache_type, activations, n_prompt, *, transcodes):
        return StepSpeed(STEP, n_prompt * BATCH_TOKEN)

    def attention(self, n_heads, shape):
        return AttentionSpeed(POSITION, POSITION / 2)

    def memory(self):
        return MemorySpeed(1e10)

    def disk(self, file):
        return DiskSpeed(DISK)

    def disk_of_folder(self, folder):
        self.asked.append(folder)
        return DiskSpeed(DISK)
