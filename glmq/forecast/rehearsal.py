"""How long steps of a model take here: its own program is run, with random weights in the place of its own.

So what a step consists of, products and all else, is measured in the forms and sizes in which it will be.
Steps of one token are run whole, and so is a batch that is short. Of a long one some layers of each kind are
run, and the first and the last; layers whose tensors have the same shapes and types are of a kind.
"""

from __future__ import annotations

import math
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial

import numpy as np
from glmq_kernels.arrays import zeros
from glmq_kernels.gemm.sizes import ROW_TOKENS
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.threads.tape import ActivationType
from glmq_kernels.threads.thread_pool import ThreadPool

from ..batch import SequencePart
from ..engine import Engine
from ..experts.offloaded_experts import STACKED
from ..gguf import GGUFFile
from ..kv_cache.sequence import Sequence as TokenSequence
from ..models import build_function
from ..program import Program
from ..session import Session
from ..tape_sections import LAYER
from .figures import StepSpeed
from .stand_in import StandInWeights

Kind = Hashable
"""What layers have in common of which each takes as long as the others."""

FIRST_STEPS, STEPS, SECONDS = 2, (2, 40), 0.7
"""Of one token, each time: those that do not count, the least and most that do, and when there are enough."""

WHOLE_SECONDS = 1.5
"""A batch that takes less than this, judging by its first layer, is run whole."""

KIND_SECONDS, BATCH_SECONDS = 0.3, 5.0
"""Layers of a kind are run until so much has gone by, and further kinds are."""


def step_speed(
    file: GGUFFile,
    n_threads: int,
    cache_type: str,
    activations: ActivationType,
    n_prompt: int,
    progress: Progress | None = None,
    *,
    transcodes: bool = False,
) -> StepSpeed:
    """Measure steps of one token, and of a batch of `n_prompt`, at the beginning of a context."""
    weights = StandInWeights(file, transcodes=transcodes)
    program = build_function(file)(file, weights, n_prompt, n_threads, cache_type, activations)
    n_ctx = max(n_prompt, 2 * (FIRST_STEPS + STEPS[1]))
    engine = Engine(program, n_threads, file, program.cache_shape.n_bytes(2 * n_ctx), progress=progress)
    try:
        session = Session(engine, file, n_ctx)
        one = _one_token_seconds(session, weights.n_tokens)
        sequence = TokenSequence(engine.prefix_tree)
        sequence.reserve(n_prompt)
        tokens = np.random.default_rng(0).integers(0, weights.n_tokens, n_prompt)
        part = SequencePart(tokens, 0, sequence.page_table, 1, in_rows=n_prompt <= ROW_TOKENS)
        thread_pool = ThreadPool(n_threads)
        try:
            batch = _batch_seconds(program, thread_pool, part, _kinds_of_layers(file, program))
        finally:
            thread_pool.close()
        sequence.release(publish=False)
        # Before and after the batch, so that what passes by meanwhile weighs less.
        one += _one_token_seconds(session, weights.n_tokens)
    finally:
        engine.close(lambda: None)
    return StepSpeed(statistics.median(one), batch)


def _one_token_seconds(session: Session, n_tokens: int) -> list[float]:
    """Of tokens of an answer."""
    tokens = iter(np.random.default_rng(1).integers(0, n_tokens, FIRST_STEPS + STEPS[1]).tolist())
    for _ in range(FIRST_STEPS):
        session.evaluate([next(tokens)])
    least, most = STEPS
    seconds: list[float] = []
    while len(seconds) < least or (sum(seconds) < SECONDS and len(seconds) < most):
        began = time.perf_counter()
        session.evaluate([next(tokens)])
        seconds.append(time.perf_counter() - began)
    return seconds


def _kinds_of_layers(file: GGUFFile, program: Program) -> list[tuple[Kind, float]]:
    """Of each layer its kind, and its part of a token's multiply-adds."""
    tensors: dict[str, list[tuple[str, str, tuple[int, ...]]]] = defaultdict(list)
    for name, info in file.tensors.items():
        if found := re.match(LAYER, name):
            tensors[found[0]].append((name[found.end() :], info.type, info.shape))
    routing = program.expert_layers[0].routing if program.expert_layers else None
    share = routing.top_k / routing.n_experts if routing else 1.0
    kinds: list[tuple[Kind, float]] = []
    for layer in program.layers:
        of_layer = sorted(tensors[layer])
        weights = sum(
            math.prod(shape) * (share if STACKED.fullmatch(layer + name) else 1.0)
            for name, _, shape in of_layer
        )
        kinds.append((tuple(of_layer), weights))
    return kinds


def _batch_seconds(
    program: Program, thread_pool: ThreadPool, part: SequencePart, kinds: Sequence[tuple[Kind, float]]
) -> float:
    """A batch's time: of all of it, or of layers of each kind, as often as these are there."""
    tape, layers = program.tape, program.layers
    logits = zeros((1, program.n_vocab), np.float32)
    whole = partial(program.run, thread_pool, [part], logits)
    # Up to the end of the first layer. What this writes to the tape's state stays for the others.
    first = _seconds(partial(whole, lambda: False, n_sections=None))
    if len(layers) * first < WHOLE_SECONDS:
        return min(_seconds(whole), _seconds(whole))
    of_kind: dict[Kind, list[float]] = defaultdict(list)
    for layer, after, (kind, _) in zip(layers[1:-1], layers[2:], kinds[1:-1], strict=True):
        seconds = of_kind[kind] if kind in of_kind or _total(of_kind) < BATCH_SECONDS else None
        if seconds is not None and sum(seconds) < KIND_SECONDS:
            seconds.append(_seconds(partial(tape.run, thread_pool, layer, after)))
    usual = {kind: statistics.median(seconds) for kind, seconds in of_kind.items()}
    last = _seconds(partial(tape.run, thread_pool, layers[-1]))
    return first + seconds_of_layers(kinds[1:-1], usual) + last


def _total(of_kind: Mapping[Kind, list[float]]) -> float:
    return sum(map(sum, of_kind.values()))


def seconds_of_layers(layers: Sequence[tuple[Kind, float]], of_kind: Mapping[Kind, float]) -> float:
    """Of all layers, each with its kind and its multiply-adds, where some kinds have been measured.

    The others take as long for a multiply-add as these do.
    """
    measured = {kind: work for kind, work in layers if kind in of_kind}
    of_multiply_add = sum(of_kind[kind] for kind in measured) / sum(measured.values()) if measured else 0.0
    return sum(of_kind.get(kind, of_multiply_add * work) for kind, work in layers)


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
