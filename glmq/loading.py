"""From an open file and what the caller asks for to a model's program, with its weights where they belong."""

from __future__ import annotations

from typing import cast

from glmq_kernels.errors import UserError
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.ops.attention.cache_layout import CACHE_TYPES
from glmq_kernels.threads.tape import ACTIVATION_TYPES, ActivationType

from .argument_checks import check_count
from .engine import BATCH
from .experts.offloaded_experts import OffloadedExperts, needs_of
from .file_contents import hold_in_memory
from .gguf import GGUFFile
from .memory_plan import Needs, cannot_read_all, plan_memory
from .models import build_function
from .program import Program
from .session import trained_context
from .weights import Weights

DEFAULT_CONTEXT = 16384
"""Positions of a context unless the caller says otherwise or the model has fewer."""

LOAD_MODES = ("mmap", "read")

SMALL_MODELS = range(10_000_000, 500_000_000)
"""Parameters of language models that react to the rounding of activations to 8 bits. Their activations are
float32 by default. Files of less are random ones for tests."""

LARGE_BATCHES = (2048, 1024, BATCH)
WORK_SHARE = 0.1
"""Of the memory, for the activations of a batch where experts come from disk."""


def context_size(file: GGUFFile, wanted: int | None) -> int:
    """Tokens of a context, the default one for None. Raises UserError for one that the model cannot have."""
    check_count("n_ctx", wanted)
    trained = trained_context(file, DEFAULT_CONTEXT)
    if wanted is None:
        return min(trained, DEFAULT_CONTEXT)
    if wanted < 1:
        raise UserError(f"a context of {wanted} tokens is too small", setting="n_ctx")
    if wanted > trained:
        raise UserError(
            f"{file.path.name} was trained for {trained} tokens of context; choose at most that",
            setting="n_ctx",
        )
    return wanted


def activation_type(wanted: str, file: GGUFFile) -> ActivationType:
    """What tokens are in products, "auto" decided. Raises UserError."""
    if wanted in ACTIVATION_TYPES:
        return cast("ActivationType", wanted)
    if wanted != "auto":
        raise UserError(
            f"activations of type {wanted!r} are not known; choose auto, {' or '.join(ACTIVATION_TYPES)}",
            setting="activations",
        )
    n_parameters = sum(info.n_elements for info in file.tensors.values())
    return "f32" if n_parameters in SMALL_MODELS else "int8"


def prepare_program(
    file: GGUFFile,
    n_ctx: int,
    n_threads: int,
    cache_type: str,
    activations: ActivationType,
    ram: int | None,
    load: str,
    progress: Progress | None,
) -> tuple[Program, OffloadedExperts | None]:
    """The model's program, and what keeps experts on disk where not all weights fit into memory.

    The other arguments are those of `glmq.load`. Raises UserError for what cannot be.
    """
    if load not in LOAD_MODES:
        raise UserError(
            f"{load!r} is no way to load a model; choose {' or '.join(LOAD_MODES)}", setting="load"
        )
    cache_type = cache_type.upper()
    if cache_type not in CACHE_TYPES:
        raise UserError(
            f"a KV cache of type {cache_type} is not known; choose {' or '.join(CACHE_TYPES)}",
            setting="cache_type",
        )
    build = build_function(file)

    def mapped(max_tokens: int) -> tuple[Program, Needs]:
        program = build(file, Weights(file), max_tokens, n_threads, cache_type, activations)
        return program, needs_of(file, program, n_ctx)

    program, needs = mapped(BATCH)
    plan = plan_memory(needs, ram)
    if load == "read":
        if not plan.in_memory:
            raise cannot_read_all(needs, plan.budget)
        hold_in_memory(file, progress)
        return mapped(BATCH)[0], None
    if plan.in_memory:
        return program, None
    # Each batch of a prompt reads nearly all experts from disk once, so batches are as large as may be.
    batch = BATCH
    for batch in LARGE_BATCHES:
        needs = mapped(batch)[1]
        if needs.work <= plan.budget * WORK_SHARE:
            break
    experts = OffloadedExperts(file, plan.budget, needs)
    try:
        return build(file, Weights(file, experts.disk), batch, n_threads, cache_type, activations), experts
    except BaseException:
        experts.close()
        raise
