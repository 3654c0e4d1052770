"""From the work on a program's tape and the speeds of a machine to tokens per second."""

from __future__ import annotations

from dataclasses import dataclass

from glmq_kernels.ops.expanded_attention.work_list import PAIR_COST, expanded_cost, expanded_is_cheaper
from glmq_kernels.threads.tape import Product, Tape

from ..program import Program
from .figures import DiskSpeed, ProductSpeed
from .measuring import FEW, MANY
from .memory import MemoryForecast
from .routing import HitRates
from .speeds import Speeds

NOT_HIDDEN = 0.4
"""Of reading and computing the shorter one's share that comes on top of the longer one's time."""

UNCERTAIN = 0.2
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
    """What a run of a program takes: seconds of computing, and bytes of experts from disk."""

    seconds: float
    disk_bytes: float = 0.0


def answer_speed(
    memory: MemoryForecast, speeds: Speeds, disk: DiskSpeed | None, hits: HitRates, depth: int
) -> Range:
    """Tokens per second of one answer behind `depth` positions."""
    seconds = _one_token_seconds(memory.program, speeds, depth)
    read = disk_bytes_per_token(memory, hits)
    return _range(1, [Cost(seconds, n_bytes) for n_bytes in (read.high, read.likely, read.low)], disk)


def prompt_speed(
    memory: MemoryForecast, speeds: Speeds, disk: DiskSpeed | None, n_tokens: int, depth: int
) -> Range:
    """Tokens per second of a prompt of `n_tokens` behind `depth` positions, read in batches."""
    assert memory.plan is not None, "it runs"
    seconds = disk_bytes = 0.0
    for start in range(0, n_tokens, memory.plan.batch):
        n = min(memory.plan.batch, n_tokens - start)
        seconds += _batch_seconds(memory.program, speeds, n, depth + start)
        if disk:
            disk_bytes += _bytes_of_batch(memory, n)
    return _range(n_tokens, [Cost(seconds, disk_bytes)] * 3, disk)


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
    return max(computing, reading) + NOT_HIDDEN * min(computing, reading)


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


def _one_token_seconds(program: Program, speeds: Speeds, depth: int) -> float:
    tape = program.tape
    products = sum(
        each.multiply_adds * speeds.product(each.type, tape.activations).one for each in tape.work.products
    )
    looking_back = (
        _layers(program) * speeds.attention(program.planner.n_heads, program.cache_shape).one * depth
    )
    return products + looking_back + _other_seconds(tape, speeds, 1)


def _batch_seconds(program: Program, speeds: Speeds, n_tokens: int, depth: int) -> float:
    tape, latent = program.tape, program.planner.latent
    expanded = latent is not None and expanded_is_cheaper(latent, n_tokens, depth)
    products = sum(
        _product_seconds(each, tape, speeds, n_tokens)
        for each in tape.work.products
        if not (expanded and each.absorbed_only)
    )
    attention = speeds.attention(program.planner.n_heads, program.cache_shape).many
    pairs = n_tokens * depth + n_tokens * (n_tokens + 1) // 2
    if latent is not None and expanded:
        absorbed = PAIR_COST * (latent.row_dim + latent.kv_rank)
        attention *= expanded_cost(latent, pairs, depth + n_tokens) / absorbed
    else:
        attention *= pairs
    return products + _layers(program) * attention + _other_seconds(tape, speeds, n_tokens)


def _layers(program: Program) -> int:
    return program.cache_shape.n_layers


def _other_seconds(tape: Tape, speeds: Speeds, n_tokens: int) -> float:
    """What is no product: norms, rotations, sums, waiting at barriers, and a step's beginning and end."""
    step = speeds.step()
    numbers = sum(each.n_choices * (each.rows + each.columns) for each in tape.work.products)
    return step.step + tape.n_operations * step.operation + (n_tokens - 1) * numbers * step.number


def _product_seconds(product: Product, tape: Tape, speeds: Speeds, n_tokens: int) -> float:
    """A batch's product: with few matrices that all tokens meet, or many that some tokens meet each."""
    speed = speeds.product(product.type, tape.activations)
    weights = product.rows * product.columns
    if product.outputs_only:  # those of the last token
        return product.n_choices * weights * speed.one
    met = product.n_matrices * _share_met(product.n_choices / product.n_matrices, n_tokens)
    return met * weights * seconds_per_weight(speed, n_tokens * product.n_choices / met)


def seconds_per_weight(speed: ProductSpeed, n_tokens: float) -> float:
    """For a number of tokens that meet a matrix: straight lines through what was measured."""
    (n_low, low), (n_high, high) = (
        ((1, speed.one), (FEW, speed.few)) if n_tokens < FEW else ((FEW, speed.few), (MANY, speed.many))
    )
    return low + (high - low) * (n_tokens - n_low) / (n_high - n_low)
