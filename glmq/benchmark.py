"""Timing a model: tokens per second of prompts and of decoding, beside what the machine can do at most."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from glmq_kernels.errors import UserError
from glmq_kernels.ops.machine_peak.operation import dot_peak, read_bandwidth
from glmq_kernels.threads.thread_pool import ThreadPool

from .memory_plan import peak_memory
from .model import Model, load
from .session import Session

MEASURED_BYTES = 2_000_000_000
"""Read bandwidth is measured over at most so much of the weights, well beyond any cache."""

MEASURED_OF_CACHED = 256_000_000
"""The same where memory is limited."""

WARM_UP_TOKENS = 8


@dataclass(frozen=True)
class Limits:
    """What the machine does at most with a number of threads, per second."""

    read_bytes: float
    multiply_adds: float


@dataclass(frozen=True)
class Result:
    """One row: `n_prompt` tokens read at once or `n_gen` one by one, after `n_depth` in the context.

    The names up to `samples_ts` are llama-bench's; ts are tokens per second. weight_bytes and
    multiply_adds: of the products, per second (of a prompt the whole file's bytes for each batch). Shares
    are of what was measured for `limits`, 0 to 1.
    """

    model_filename: str
    model_size: int
    model_type: str
    n_threads: int
    type_k: str
    type_v: str
    n_prompt: int
    n_gen: int
    n_depth: int
    avg_ts: float
    stddev_ts: float
    samples_ts: list[float]
    weight_bytes: float
    read_bandwidth: float
    read_share: float
    multiply_adds: float
    dot_peak: float
    dot_share: float
    peak_memory: int | None
    experts: dict[str, float] | None

    @property
    def test(self) -> str:
        """The row's name as llama-bench writes it, such as pp512 @ d4096."""
        name = f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"
        return f"{name} @ d{self.n_depth}" if self.n_depth else name

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What to measure: every length at every depth with every number of threads."""

    n_prompt: Sequence[int] = (512,)
    n_gen: Sequence[int] = (128,)
    n_depth: Sequence[int] = (0,)
    n_threads: Sequence[int | None] = (None,)
    repetitions: int = 5
    cache_type: str = "F16"
    activations: str = "auto"
    ram: int | None = None
    load: str = "mmap"


def run(path: Path, plan: Plan, tell: Callable[[Result], None], status: Callable[[str, float], None]) -> None:
    """Measure; `tell` gets each row when it is there, `status` hears of what goes on."""
    longest = max(plan.n_depth) + max((*plan.n_prompt, *plan.n_gen), default=0)
    if not longest:
        raise UserError("nothing to measure; give a length with -p or -n")
    for n_threads in plan.n_threads:
        with load(
            path,
            n_ctx=longest,
            n_threads=n_threads,
            cache_type=plan.cache_type,
            activations=plan.activations,
            ram=plan.ram,
            load=plan.load,
            progress=status,
        ) as model:
            status("measuring the machine", 0.0)
            limits = _limits(model)
            for n_depth in plan.n_depth:
                for n_prompt, n_gen in [(n, 0) for n in plan.n_prompt if n] + [
                    (0, n) for n in plan.n_gen if n
                ]:
                    tell(_measure(model, limits, plan, n_prompt, n_gen, n_depth, status))


def _limits(model: Model) -> Limits:
    thread_pool = ThreadPool(model.n_threads)
    most = MEASURED_BYTES if model.experts is None else MEASURED_OF_CACHED
    try:
        return Limits(read_bandwidth(thread_pool, model.file.first_bytes(most)), dot_peak(thread_pool))
    finally:
        thread_pool.close()


def _measure(
    model: Model,
    limits: Limits,
    plan: Plan,
    n_prompt: int,
    n_gen: int,
    n_depth: int,
    status: Callable[[str, float], None],
) -> Result:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, model.n_vocab, n_depth + max(n_prompt, n_gen)).tolist()
    before, measured = tokens[:n_depth], tokens[n_depth:]
    session = model.session()
    what = f"pp{n_prompt}" if n_prompt else f"tg{n_gen}"
    if before:
        status(f"{what} at depth {n_depth}", 0.0)
        session.evaluate(before)
    _evaluate(session, measured[:WARM_UP_TOKENS], bool(n_prompt))
    samples = []
    experts = model.experts.statistics.copy() if model.experts else None
    for i in range(plan.repetitions):
        status(f"{what} at depth {n_depth}", i / plan.repetitions)
        session.rewind(n_depth)
        began = time.perf_counter()
        _evaluate(session, measured, bool(n_prompt))
        samples.append(len(measured) / (time.perf_counter() - began))
    result = _result(model, limits, plan, (n_prompt, n_gen, n_depth), samples)
    if model.experts and experts:
        return replace(result, experts=asdict(model.experts.statistics.since(experts)))
    return result


def _evaluate(session: Session, tokens: list[int], at_once: bool) -> None:
    if at_once:
        session.evaluate(tokens)
    else:
        for token in tokens:
            session.evaluate([token])


def _result(
    model: Model, limits: Limits, plan: Plan, lengths: tuple[int, int, int], samples: list[float]
) -> Result:
    n_prompt, n_gen, n_depth = lengths
    speed, work = mean(samples), model.work
    if n_gen:
        multiply_adds = speed * (work.multiply_adds + work.output_multiply_adds)
        weight_bytes = speed * (work.weight_bytes + work.output_bytes)
    else:  # logits are wanted of the last token only; a batch meets about every expert
        multiply_adds = speed * (work.multiply_adds + work.output_multiply_adds / n_prompt)
        weight_bytes = speed * math.ceil(n_prompt / model.batch) / n_prompt * model.file.n_bytes
    return Result(
        model_filename=str(model.path),
        model_size=model.file.n_bytes,
        model_type=model.architecture,
        n_threads=model.n_threads,
        type_k=plan.cache_type.lower(),
        type_v=plan.cache_type.lower(),
        n_prompt=n_prompt,
        n_gen=n_gen,
        n_depth=n_depth,
        avg_ts=speed,
        stddev_ts=stdev(samples) if len(samples) > 1 else 0.0,
        samples_ts=samples,
        weight_bytes=weight_bytes,
        read_bandwidth=limits.read_bytes,
        read_share=weight_bytes / limits.read_bytes,
        multiply_adds=multiply_adds,
        dot_peak=limits.multiply_adds,
        dot_share=multiply_adds / limits.multiply_adds,
        peak_memory=peak_memory(),
        experts=None,
    )
