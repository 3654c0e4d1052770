"""What a model needs of this machine's memory, told before anything is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from glmq_kernels.errors import UserError

HEADROOM = 0.95
"""Share of the machine's memory that a model may take."""


def usable_memory() -> int | None:
    """Bytes of memory that this process may use: the machine's, or its control group's if less."""
    amounts = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        amounts.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            amounts.append(int(text))
    return min(amounts) if amounts else None


def check_fit(path: Path, weight_bytes: int, cache_bytes: int, n_ctx: int) -> None:
    """Raise UserError when weights and a full KV cache exceed the memory, saying what would fit."""
    memory = usable_memory()
    if memory is None or weight_bytes + cache_bytes <= HEADROOM * memory:
        return
    need = f"{path} needs {_gb(weight_bytes)} for weights and {_gb(cache_bytes)} for a context of {n_ctx}"
    if weight_bytes < HEADROOM * memory:
        fitting = int((HEADROOM * memory - weight_bytes) / cache_bytes * n_ctx) // 256 * 256
        if fitting >= 256:
            raise UserError(f"{need}, but there are {_gb(memory)}; choose --ctx {fitting} or less")
    raise UserError(f"{need}, but there are {_gb(memory)}; choose a smaller quantization of the model")


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"
