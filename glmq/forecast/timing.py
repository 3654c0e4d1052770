"""From the speeds that were measured to tokens per second."""

from __future__ import annotations

from dataclasses import dataclass

from glmq_kernels.ops.expanded_attention.work_list import PAIR_COST, expanded_cost, expanded_is_cheaper

from ..program import Program
from .figures import AttentionSpeed, DiskSpeed, StepSpeed
from .memory import MemoryForecast
from .routing import HitRates

NOT_HIDDEN_OF_PROMPT, NOT_HIDDEN_OF_ANSWER = 0.2, 0.6
"""See `Cost`. For a prompt a group of experts is read while the one before it is computed; a token waits for
what its layer has chosen."""

UNCERTAIN = 0.25
"""Either way, of times worked out from measured speeds."""

DISK_UNCERTAIN = 0.3
"""The same of a disk's speed, which depends on who else uses it and on what is in caches of its own."""


@dataclass(frozen=True)
class Range:
    """A figure that is expected, and between what."""

    low: float
    likely: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What a run of a program takes: seconds of computing, and bytes of experts from disk.

    not_hidden: of reading and computing the shorter one's share that comes on top of the longer one's time.
    """

    seconds: float
    disk_bytes: float
    not_hidden: float


@dataclass(frozen=True)
class ModelSpeeds:
    """What was measured of a model on this machine.

    step: its steps with all experts in memory. n_prompt: tokens of the batch among them. disk: None where
    nothing comes from there.
    """

    step: StepSpeed
    n_prompt: int
    attention: AttentionSpeed
    disk: DiskSpeed | None


def answer_speed(memory: MemoryForecast, speeds: ModelSpeeds, hits: HitRates, depth: int) -> Range:
    """Tokens per second of one answer behind `depth` positions."""
    looking_back = _layers(memory.program) * speeds.attention.one * depth
    seconds = speeds.step.one + looking_back
    read = disk_bytes_per_token(memory, hits)
    costs = [Cost(seconds, n_bytes, NOT_HIDDEN_OF_ANSWER) for n_bytes in (read.high, read.likely, read.low)]
    return _range(1, costs, speeds.disk)


def prompt_speed(memory: MemoryForecast, speeds: ModelSpeeds, n_tokens: int, depth: int) -> Range:
    """Tokens per second of a prompt of `n_tokens` behind `depth` positions, read in batches."""
    assert memory.plan is not None, "it runs"
    seconds = disk_bytes = 0.0
    for start in range(0, n_tokens, memory.plan.batch):
        n = min(memory.plan.batch, n_tokens - start)
        seconds += _batch_seconds(memory.program, speeds, n, depth + start)
        if speeds.disk:
            disk_bytes += _bytes_of_batch(memory, n)
    return _range(n_tokens, [Cost(seconds, disk_bytes, NOT_HIDDEN_OF_PROMPT)] * 3, speeds.disk)


def _range(n_tokens: int, costs: list[Cost], disk: DiskSpeed | None) -> Range:
    """Tokens per second for the costs of the worst, the likely and the best case."""
    worst, likely, best = costs
    bandwidth = disk.bandwidth if disk else 1.0
    return Range(
        n_tokens / _seconds(worst, 1 + UNCERTAIN, bandwidth * (1 - DISK_UNCERTAIN)),
        n_tokens / _seconds(likely, 1.0, bandwidth),
        n_tokens / _seconds(best, 1 - UNCERTAIN, bandwidth * (1 + DISK_UNCERTAIN)),
    )


def _seconds(cost: Cost, factor: float, bandwidth: float) -> float:
    """Computing and reading, of which most happens at the same time."""
    computing, reading = factor * cost.seconds, cost.disk_bytes / bandwidth
    return max(computing, reading) + cost.not_hidden * min(computing, reading)


def disk_bytes_per_token(memory: MemoryForecast, hits: HitRates) -> Range:
    """Bytes of experts that an answer's token reads from disk."""
    layers = memory.program.expert_layers
    if memory.placement is None:
        return Range(0.0, 0.0, 0.0)
    wanted = layers[0].routing.top_k * len(layers) * memory.expert_bytes
    return Range(wanted * (1 - hits.high), wanted * (1 - hits.likely), wanted * (1 - hits.low))


def _bytes_of_batch(memory: MemoryForecast, n_tokens: int) -> float:
    """Bytes of experts that a batch reads from disk: about all that are not there, when it is large."""
    layers = memory.program.expert_layers
    routing = layers[0].routing
    met = routing.n_experts * _share_met(routing.top_k / routing.n_experts, n_tokens)
    return len(layers) * met * (1 - memory.n_kept / memory.n_experts) * memory.expert_bytes


def _share_met(chosen: float, n_tokens: int) -> float:
    """Of experts of which a token chooses a share, those that any of some tokens chooses."""
    return 1 - (1 - chosen) ** n_tokens


def _batch_seconds(program: Program, speeds: ModelSpeeds, n_tokens: int, depth: int) -> float:
    """A batch's time, from that of one of another size at the context's beginning.

    What is no attention takes as long for every token of large batches; of small ones it lies on a line
    between those of one token and of the batch that was measured.
    """
    n = speeds.n_prompt
    of_measured = max(0.0, speeds.step.batch - _attention_seconds(program, speeds.attention, n, 0))
    if n_tokens >= n:
        others = of_measured * n_tokens / n
    else:
        others = speeds.step.one + (of_measured - speeds.step.one) * (n_tokens - 1) / (n - 1)
    return others + _attention_seconds(program, speeds.attention, n_tokens, depth)


def _attention_seconds(program: Program, speed: AttentionSpeed, n_tokens: int, depth: int) -> float:
    """How long a batch's tokens look back, in the form of attention that they have in all layers."""
    latent = program.planner.latent
    pairs = n_tokens * depth + n_tokens * (n_tokens + 1) // 2
    seconds = _layers(program) * speed.many * pairs
    if latent is not None and expanded_is_cheaper(latent, n_tokens, depth):
        absorbed = pairs * PAIR_COST * (latent.row_dim + latent.kv_rank)
        seconds *= expanded_cost(latent, pairs, depth + n_tokens) / absorbed
    return seconds


def _layers(program: Program) -> int:
    return program.cache_shape.trunk.n_layers
