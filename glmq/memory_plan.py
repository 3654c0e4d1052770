"""What a model needs of this machine's memory, and what to do when that is not there."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glmq_kernels.errors import GlmqError

from .system_memory import available_memory

HEADROOM = 0.92
"""Share of the free memory that a model takes by itself."""

WORK_SHARE = 0.1
"""Share of the budget that the work of a batch may take, so that larger batches are chosen."""

KV_CACHE_SHARE = 0.5
"""Of what is left beside weights and work, for keys and values of all sequences; all of it where the user has
named a budget."""

GIGABYTE = 1e9
UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}

LARGEST = 1 << 62
"""Bytes of which anybody may speak."""


def parse_size(text: str) -> int:
    """Bytes of a size such as 12G, 12.5GB, 12GiB or 800M. Raises GlmqError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    unit = UNITS.get(found[2]) if found else None
    if found is None or unit is None or not 0 < float(found[1]) * unit < LARGEST:
        raise GlmqError(f"{reprlib.repr(text)} is not an amount of memory; give one such as 12G or 800M")
    return int(float(found[1]) * unit)


def show_size(n_bytes: float) -> str:
    """An amount of memory for people to read."""
    return f"{n_bytes / GIGABYTE:.1f} GB" if n_bytes >= GIGABYTE / 10 else f"{n_bytes / 1e6:.0f} MB"


@dataclass(frozen=True)
class MemoryPlan:
    """How a model is to use memory: weights in memory, work and KV cache stay within the budget.

    budget: bytes for everything. in_memory: whether all weights are mapped; otherwise routed experts come
    and go. batch: tokens of the largest batch; work: bytes that it needs. kv_cache: bytes that all sequences
    may have together, at least those of one that fills the context.
    """

    budget: int
    in_memory: bool
    batch: int
    work: int
    kv_cache: int


@dataclass(frozen=True)
class Needs:
    """Bytes that a model needs.

    weights: all of them; experts: those of them that can stay on disk. kv_cache: of one sequence of `n_ctx`
    tokens. work: for each size of batch that the model can have, what batches of so many tokens work on.
    beside: what a draft model needs of the same memory.
    """

    path: Path
    weights: int
    experts: int
    kv_cache: int
    work: Mapping[int, int]
    n_ctx: int
    beside: int = 0

    @property
    def total(self) -> int:
        """All of it, with the smallest batch."""
        return self.weights + self.kv_cache + self.least_work

    @property
    def least_work(self) -> int:
        """What the smallest batch works on."""
        return self.work[min(self.work)]

    @property
    def dense(self) -> int:
        """Weights that cannot stay on disk."""
        return self.weights - self.experts


def plan_memory(needs: Needs, budget: int | None) -> MemoryPlan:
    """Choose. Raises GlmqError when what cannot stay on disk does not fit, saying what would."""
    share = 1.0
    if budget is None:
        budget, share = free_budget(needs), KV_CACHE_SHARE
    budget = max(0, budget - needs.beside)
    if needs.total <= budget:
        batch = _largest_batch(needs, budget, budget - needs.weights - needs.kv_cache)
        left = budget - needs.weights - needs.work[batch]
        kv_cache = max(needs.kv_cache, int(share * left))
        return MemoryPlan(budget, True, batch, needs.work[batch], kv_cache)
    if not needs.experts or _fitting_context(needs, budget) < needs.n_ctx:
        raise _too_large(needs, budget)
    batch = _largest_batch(needs, budget, budget - needs.dense - needs.kv_cache)
    return MemoryPlan(budget, False, batch, needs.work[batch], needs.kv_cache)


def free_budget(needs: Needs) -> int:
    """The budget where the user names none: most of what is free."""
    available = available_memory()
    return needs.total if available is None else int(HEADROOM * available)


def _largest_batch(needs: Needs, budget: int, left: int) -> int:
    """The largest batch whose work fits into its share of the budget and what is left, or the smallest."""
    most = min(left, WORK_SHARE * budget)
    return max((batch for batch, work in needs.work.items() if work <= most), default=min(needs.work))


def _fitting_context(needs: Needs, budget: int) -> int:
    """Tokens of context for which there is room."""
    left = budget - needs.dense - needs.least_work
    return int(left / needs.kv_cache * needs.n_ctx)


def _too_large(needs: Needs, budget: int) -> GlmqError:
    need = (
        f"{needs.path} needs {show_size(needs.dense)} for weights and {show_size(needs.kv_cache)}"
        f" for a context of {needs.n_ctx}, but there are {_there(needs, budget)}"
    )
    fitting = _fitting_context(needs, budget) // 256 * 256
    if fitting >= 256:
        return GlmqError(f"{need}; choose a context of {fitting} or less", setting="n_ctx")
    least = -(-(needs.dense + needs.least_work + needs.kv_cache + needs.beside) // 1e8) / 10
    return GlmqError(
        f"{need}; give it {least:.1f}G or more, or choose a smaller quantization of the model"
        f"{', or no other model for drafts' if needs.beside else ''}",
        setting="ram",
    )


def _there(needs: Needs, budget: int) -> str:
    """What of a budget there is."""
    beside = f" beside the {show_size(needs.beside)} of the model that drafts" if needs.beside else ""
    return f"{show_size(budget)}{beside}"


def cannot_read_all(needs: Needs, budget: int) -> GlmqError:
    """Why a model that is to be read into memory as a whole cannot be."""
    return GlmqError(
        f"{needs.path} needs {show_size(needs.total)} to be read into memory, but there are"
        f" {_there(needs, budget)}; have it mapped (mmap), then experts for which there is no room come from"
        " disk, or give it more memory",
        setting="load",
    )
