"""What a model's memory would be spent on here, by the plan that loading it makes."""

from __future__ import annotations

from dataclasses import dataclass

from glmq_kernels.errors import GlmqError

from ..experts.placement import INTERPRETER, RESERVE, Placement, plan_slots
from ..gguf import GGUFFile
from ..loading import (
    counting_program,
    layer_by_itself,
    needs_of,
    transcoded_tensors,
)
from ..memory_plan import MemoryPlan, Needs, cannot_read_all, free_budget, plan_memory
from ..model_settings import ModelSettings
from ..program import Program
from ..system_memory import resident_memory
from ..weights import Weights

KERNELS = 30_000_000
"""Bytes that a process takes for kernels and tables when it has loaded a model, roughly."""


@dataclass(frozen=True)
class MemoryForecast:
    """A model's program, counted and not run, and what its memory would be spent on. Amounts are in bytes.

    load: how it would be loaded, a name of `LOAD_MODES`.
    plan: None where the model does not run, for the reason `refusal`. placement: what of the experts stays in
    memory, None where all weights are mapped. mapped: weights that stay in the mapped file although others do
    not: an embedding, of which few rows are used. process: what the program itself takes, roughly.
    """

    load: str
    program: Program
    needs: Needs
    budget: int
    plan: MemoryPlan | None
    placement: Placement | None
    refusal: GlmqError | None
    mapped: int
    process: int

    @property
    def dense(self) -> int:
        """Weights in memory that every token meets, or that cannot stay on disk."""
        return self.needs.dense - (self.mapped if self.placement else 0)

    @property
    def experts_kept(self) -> int:
        """Of routed experts, what stays in memory."""
        if self.placement is None:
            return self.needs.experts
        return self.placement.n_slots * self.expert_bytes

    @property
    def expert_bytes(self) -> int:
        """Of one routed expert on average: its gate, up and down matrices."""
        return self.needs.experts // max(1, self.n_experts)

    @property
    def n_experts(self) -> int:
        """Routed experts of all layers."""
        layers = self.program.expert_layers
        return len(layers) * layers[0].routing.n_experts if layers else 0

    @property
    def n_kept(self) -> int:
        """Routed experts that stay in memory."""
        return self.n_experts if self.placement is None else self.placement.n_slots

    @property
    def work(self) -> int:
        """What a batch works on."""
        return self.needs.least_work if self.plan is None else self.plan.work

    @property
    def total(self) -> int:
        """All of it, with a context that is full."""
        return self.dense + self.experts_kept + self.needs.kv_cache + self.work + self.process


def forecast_memory(file: GGUFFile, settings: ModelSettings, load: str) -> MemoryForecast:
    """Plan as loading would. Raises GlmqError for a model that glmq does not run on any machine."""
    transcoded = transcoded_tensors(load)
    weights = Weights(file, transcoded=transcoded)
    prediction, _ = layer_by_itself(file, settings)
    program = counting_program(file, weights, settings, weights if prediction else None)
    needs = needs_of(file, program, settings.n_ctx, transcoded, prediction)
    return plan_again(file, program, needs, settings.ram, load)


def plan_again(file: GGUFFile, program: Program, needs: Needs, ram: int | None, load: str) -> MemoryForecast:
    """Plan for other needs, or another budget, of the same program."""
    mapped = file.tensor("token_embd.weight").n_bytes if "output.weight" in file.tensors else 0
    # Beside the weights loading takes what this process has taken so far to count, and kernels.
    resident = resident_memory()
    process = INTERPRETER if resident is None else resident + KERNELS
    plan, placement, refusal = None, None, None
    try:
        plan = plan_memory(needs, ram)
        if not plan.in_memory:
            if load != "mmap":
                raise cannot_read_all(needs, plan.budget)
            placement = plan_slots(program.expert_layers, plan, needs, process + needs.dense - mapped)
    except GlmqError as error:
        plan, refusal = None, error
    budget = plan.budget if plan else ram or free_budget(needs)
    return MemoryForecast(load, program, needs, budget, plan, placement, refusal, mapped, process + RESERVE)
