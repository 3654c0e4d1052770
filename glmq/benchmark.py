"""Timing a model: tokens per second of prompts and of decoding, beside what the machine can do at most.

Several sequences are timed as a program with several users would have them: each is evaluated by a thread of
its own, and the scheduler brings them together.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.gemm.sizes import ROW_TOKENS
from glmq_kernels.ops.attention.cache_layout import types_of
from glmq_kernels.ops.machine_peak.operation import dot_peak, read_bandwidth
from glmq_kernels.threads.thread_pool import ThreadPool

from .drafting.model_drafting import ModelDrafting
from .drafting.simulation import FrequentTokens, Simulation
from .load_model import load
from .model import Model
from .sampling import Sampling
from .session import Session
from .system_memory import peak_memory

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

    n_seq: sequences that do so at the same time. The other names up to `samples_ts` are llama-bench's; ts are
    tokens per second, of all sequences together. weight_bytes and multiply_adds: of the products, per second
    (of prompts the whole file's bytes for each batch; while several sequences decode together those that one
    token reads, for each step, to which come those of more experts). Shares are of what was measured for
    `limits`, 0 to 1. draft: what guessed, in a row with drafts; n_drafted, n_accepted, draft_gain: guesses
    that were checked, those of them that came true, and how many times as fast as the same tokens without.
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
    n_seq: int
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
    draft: str = ""
    n_drafted: int = 0
    n_accepted: int = 0
    draft_gain: float = 1.0

    @property
    def test(self) -> str:
        """The row's name as llama-bench writes it, such as pp512 @ d4096, or `4 x tg32` of four sequences."""
        name = Case(self.n_prompt, self.n_gen, self.n_depth, self.n_seq).name
        return f"{name} drafted" if self.draft else name

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Case:
    """What one row measures; one of the first two is 0."""

    n_prompt: int
    n_gen: int
    n_depth: int
    n_seq: int

    @property
    def name(self) -> str:
        """Such as `4 x tg32 @ d4096`."""
        sequences = f"{self.n_seq} x " if self.n_seq > 1 else ""
        length = f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"
        return f"{sequences}{length}{f' @ d{self.n_depth}' if self.n_depth else ''}"


@dataclass(frozen=True)
class Plan:
    """What to measure: every length at every depth with every number of sequences and of threads.

    draft: what guesses tokens, in further rows of one sequence that decodes. n_draft: guesses of a draft at
    most. acceptance: the share of guesses that come true, whatever they are; None for what they are.
    """

    n_prompt: Sequence[int] = (512,)
    n_gen: Sequence[int] = (128,)
    n_depth: Sequence[int] = (0,)
    n_seq: Sequence[int] = (1,)
    n_threads: Sequence[int | None] = (None,)
    repetitions: int = 5
    cache_type: str = "F16"
    activations: str = "auto"
    ram: int | None = None
    load: str = "mmap"
    numa: bool = False
    draft: str = "off"
    n_draft: int = ROW_TOKENS
    acceptance: float | None = None

    def cases(self) -> list[Case]:
        """The rows for a number of threads, in order."""
        lengths = [(n, 0) for n in self.n_prompt if n] + [(0, n) for n in self.n_gen if n]
        return [
            Case(n_prompt, n_gen, n_depth, n_seq)
            for n_depth in self.n_depth
            for n_prompt, n_gen in lengths
            for n_seq in self.n_seq
        ]


def run(path: Path, plan: Plan, tell: Callable[[Result], None], status: Callable[[str, float], None]) -> None:
    """Measure; `tell` gets each row when it is there, `status` hears of what goes on."""
    longest = max(plan.n_depth) + max((*plan.n_prompt, *plan.n_gen), default=0)
    longest += WARM_UP_TOKENS if longest and plan.draft != "off" else 0
    if not longest:
        raise GlmqError("nothing to measure; give a length with -p or -n")
    if not all(plan.n_seq):
        raise GlmqError("0 sequences cannot be measured; give 1 or more", setting="n_seq")
    for n_threads in plan.n_threads:
        with load(
            path,
            n_ctx=longest,
            n_threads=n_threads,
            cache_type=plan.cache_type,
            activations=plan.activations,
            ram=plan.ram,
            load=plan.load,
            numa=plan.numa,
            draft=plan.draft,
            progress=status,
        ) as model:
            status("measuring the machine", 0.0)
            limits = _limits(model)
            for case in plan.cases():
                tell(_measure(model, limits, plan, case, status))
                if model.drafting is not None and case.n_gen and case.n_seq == 1:
                    tell(_measure_drafted(model, model.drafting, limits, plan, case, status))


def _limits(model: Model) -> Limits:
    thread_pool = ThreadPool(model.n_threads)
    most = MEASURED_BYTES if model.experts is None else MEASURED_OF_CACHED
    try:
        return Limits(read_bandwidth(thread_pool, model.file.first_bytes(most)), dot_peak(thread_pool))
    finally:
        thread_pool.close()


def _measure(
    model: Model, limits: Limits, plan: Plan, case: Case, status: Callable[[str, float], None]
) -> Result:
    rng = np.random.default_rng(0)
    sessions = [model.session() for _ in range(case.n_seq)]

    def tokens(n: int) -> list[list[int]]:
        return [rng.integers(0, model.n_vocab, n).tolist() for _ in sessions]

    status(case.name, 0.0)
    if case.n_depth:
        _evaluate(sessions, tokens(case.n_depth), at_once=True)
    _evaluate(sessions, tokens(min(WARM_UP_TOKENS, case.n_prompt or case.n_gen)), at_once=bool(case.n_prompt))
    samples = []
    experts = model.experts.statistics.copy() if model.experts else None
    for i in range(plan.repetitions):
        status(case.name, i / plan.repetitions)
        for session in sessions:
            session.rewind(case.n_depth)
        measured = tokens(case.n_prompt or case.n_gen)  # new ones, which no prefix cache knows
        began = time.perf_counter()
        _evaluate(sessions, measured, at_once=bool(case.n_prompt))
        samples.append(sum(map(len, measured)) / (time.perf_counter() - began))
    result = _result(model, limits, plan, case, samples)
    if model.experts and experts:
        return replace(result, experts=asdict(model.experts.statistics.since(experts)))
    return result


def _measure_drafted(
    model: Model,
    drafting: ModelDrafting,
    limits: Limits,
    plan: Plan,
    case: Case,
    status: Callable[[str, float], None],
) -> Result:
    """The same tokens without drafts and with them, greedy and without an end, behind random ones.

    Where it is simulated which guesses come true only frequent tokens are written.
    """
    guide = None if plan.acceptance is None else FrequentTokens()
    rng = np.random.default_rng(1)
    endless = Sampling(
        temperature=0, repeat_penalty=1, presence_penalty=0, frequency_penalty=0,
        logit_bias=dict.fromkeys(model.tokenizer.eog_ids, -math.inf),
    )  # fmt: skip
    plain, drafted = [], []
    for i in range(plan.repetitions + 1):  # the first warms up
        status(f"{case.name} drafted", i / (plan.repetitions + 1))
        prompt = rng.integers(0, model.n_vocab, max(case.n_depth, WARM_UP_TOKENS)).tolist()
        drafting.n_most, drafting.simulation = 0, None
        without = model.generate(prompt, sampling=endless, max_tokens=case.n_gen, constraint=guide)
        without.run()
        drafting.n_most = plan.n_draft
        if plan.acceptance is not None:
            drafting.simulation = Simulation(without.tokens, plan.acceptance)
        generation = model.generate(prompt, sampling=endless, max_tokens=case.n_gen, constraint=guide)
        generation.run()
        plain.append(without.timings)
        drafted.append(generation.timings)
    samples = [each.decode_per_second for each in drafted[1:]]
    gain = mean(samples) / mean(each.decode_per_second for each in plain[1:])
    n_drafted, n_accepted = (
        sum(getattr(each, name) for each in drafted[1:]) for name in ("n_drafted", "n_accepted")
    )
    result = _result(model, limits, plan, case, samples)
    return replace(result, draft=plan.draft, n_drafted=n_drafted, n_accepted=n_accepted, draft_gain=gain)


def _evaluate(sessions: Sequence[Session], tokens: Sequence[list[int]], *, at_once: bool) -> None:
    """Evaluate each session's tokens, of several sessions each in a thread of its own."""
    stopped = threading.Event()

    def evaluate(session: Session, own: list[int]) -> None:
        for part in [own] if at_once else [[token] for token in own]:
            if stopped.is_set():
                return
            session.evaluate(part)

    if len(sessions) == 1:
        evaluate(sessions[0], tokens[0])
        return
    with ThreadPoolExecutor(len(sessions)) as threads:
        try:
            for finished in [threads.submit(evaluate, *each) for each in zip(sessions, tokens, strict=True)]:
                finished.result()
        finally:
            stopped.set()


def _result(model: Model, limits: Limits, plan: Plan, case: Case, samples: list[float]) -> Result:
    speed, work = mean(samples), model.work
    if case.n_gen:
        multiply_adds = speed * (work.multiply_adds + work.output_multiply_adds)
        weight_bytes = speed / case.n_seq * (work.weight_bytes + work.output_bytes)
    else:  # logits are wanted of the last token only; a batch meets about every expert
        multiply_adds = speed * (work.multiply_adds + work.output_multiply_adds / case.n_prompt)
        n_tokens = case.n_prompt * case.n_seq
        weight_bytes = speed * math.ceil(n_tokens / model.batch) / n_tokens * model.file.n_bytes
    return Result(
        model_filename=str(model.path),
        model_size=model.file.n_bytes,
        model_type=model.architecture,
        n_threads=model.n_threads,
        type_k=types_of(plan.cache_type.lower())[0],
        type_v=types_of(plan.cache_type.lower())[1],
        n_prompt=case.n_prompt,
        n_gen=case.n_gen,
        n_depth=case.n_depth,
        n_seq=case.n_seq,
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
