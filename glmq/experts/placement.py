"""How a budget of memory is spent on experts, and what that means for the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glmq_kernels.errors import GlmqError

from ..memory_plan import MemoryPlan, Needs, show_size
from ..system_memory import resident_memory
from .disk import Disk
from .expert_cache import ExpertCache
from .expert_layer import ExpertLayer
from .fetching import Fetching
from .offload import PREFETCHED, ExpertOffload
from .slab import Slab

RESERVE = 150_000_000
"""Bytes left for what comes later: tokenizer, templates, logits."""

INTERPRETER = 200_000_000
"""Bytes that a process takes beside its weights, roughly, where the system does not tell."""

LEAST_STAGING = 16
"""Experts that can pass through memory at once, in two halves."""


@dataclass(frozen=True)
class Placement:
    """What came of a budget.

    needed: bytes with which all would fit. n_slots: experts that stay in memory, of n_experts; cycle: that
    one token uses.
    """

    budget: int
    needed: int
    file_bytes: int
    slot_bytes: int
    n_slots: int
    n_experts: int
    cycle: int

    def line(self) -> str:
        """For the user, at the start."""
        return (
            f"memory {show_size(self.budget)} for a model of {show_size(self.file_bytes)}:"
            f" {self.n_slots} of {self.n_experts} experts stay, an equal share in each layer, the others come"
            f" from disk; {show_budget(self.next_budget)} would hold {self.next_budget_holds}"
        )

    @property
    def next_budget(self) -> int:
        """The least amount of memory that makes a difference: for `next_budget_holds`."""
        if self.n_slots < self.cycle:
            return self.budget + (self.cycle - self.n_slots) * self.slot_bytes
        return self.needed

    @property
    def next_budget_holds(self) -> str:
        """What fits into `next_budget`."""
        return "as many as a token uses" if self.n_slots < self.cycle else "all of it"


def show_budget(n_bytes: float) -> str:
    """An amount that `glmq.load` takes as `ram`."""
    return f"{-(-n_bytes // 1e8) / 10:.1f}G"


def place_experts(
    layers: Sequence[ExpertLayer], disk: Disk, plan: MemoryPlan, needs: Needs
) -> tuple[ExpertOffload, Placement]:
    """Spend what the plan leaves on slots for experts.

    Raises GlmqError when not even one layer's active experts would fit.
    """
    resident = resident_memory()
    if resident is None:
        resident = INTERPRETER + disk.loaded_bytes
    placement = plan_slots(layers, plan, needs, resident)
    n_experts = layers[0].routing.n_experts
    cache = ExpertCache(len(layers), n_experts, placement.n_slots)
    slab = Slab(placement.n_slots + _staging(layers), placement.slot_bytes)
    return ExpertOffload(layers, Fetching(disk.reader, slab, cache), cache), placement


def plan_slots(layers: Sequence[ExpertLayer], plan: MemoryPlan, needs: Needs, resident: int) -> Placement:
    """How many experts stay in memory where the process takes `resident` bytes, its dense weights loaded.

    Raises GlmqError when not even one layer's active experts would fit.
    """
    routing = layers[0].routing
    slot_bytes = max(layer.room for layer in layers)
    staging = _staging(layers)
    taken = resident + plan.kv_cache + plan.work + RESERVE
    n_slots = (plan.budget - taken) // slot_bytes - staging
    if n_slots < 0:
        least = show_budget(taken + staging * slot_bytes)
        raise GlmqError(
            f"{needs.path}: {show_size(plan.budget)} do not hold its dense weights, the KV cache and one"
            f" layer's experts; give it {least} or more, or a smaller context",
            setting="ram",
        )
    n_experts, cycle = routing.n_experts * len(layers), routing.top_k * len(layers)
    n_slots = min(n_slots, n_experts)
    return Placement(plan.budget, needs.total, needs.weights, slot_bytes, n_slots, n_experts, cycle)


def _staging(layers: Sequence[ExpertLayer]) -> int:
    """Slots for experts that pass through."""
    return max(LEAST_STAGING, layers[0].routing.top_k + PREFETCHED)
