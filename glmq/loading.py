"""From an open file and what the caller asks for to a model's program, with its weights where they belong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.machine.numa import MemoryNode, memory_nodes
from glmq_kernels.ops.attention.cache_layout import CACHE_TYPES, type_of_both, types_of
from glmq_kernels.threads.tape import ACTIVATION_TYPES, ActivationType

from .argument_checks import check_count
from .experts.disk import Disk
from .experts.offloaded_experts import OffloadedExperts, expert_bytes
from .file_contents import hold_in_memory
from .gguf import GGUFFile
from .memory_plan import MemoryPlan, Needs, cannot_read_all, free_budget, plan_memory
from .models import build_function
from .models.trunk import prediction_block
from .program import Program
from .session import trained_context
from .transcoded_tensors import TranscodedTensors
from .weights import Weights

DEFAULT_CONTEXT = 16384
"""Positions of a context unless the caller says otherwise or the model has fewer."""

LOAD_MODES = ("mmap", "read", "transcode")

NO_NODES = "this machine's memory is one node (NUMA), or there is one thread; nothing is shared out"
"""What is told where weights were to be shared out among nodes."""

SMALL_MODELS = range(10_000_000, 500_000_000)
"""Parameters of language models that react to the rounding of activations to 8 bits. Their activations are
float32 by default. Files of less are random ones for tests."""

BATCH_SIZES = (512, 1024, 2048)
"""Tokens of the largest batch. Of models with routed experts, memory decides: the more tokens, the more each
expert has for the unpacking of its weights, and the less often all experts come from disk. Dense models gain
nothing by more than the first."""


def context_size(file: GGUFFile, wanted: int | None) -> int:
    """Tokens of a context, the default one for None. Raises GlmqError for one that the model cannot have."""
    check_count("n_ctx", wanted)
    trained = trained_context(file, DEFAULT_CONTEXT)
    if wanted is None:
        return min(trained, DEFAULT_CONTEXT)
    if wanted < 1:
        raise GlmqError(f"a context of {wanted} tokens is too small", setting="n_ctx")
    if wanted > trained:
        raise GlmqError(
            f"{file.path.name} was trained for {trained} tokens of context; choose at most that",
            setting="n_ctx",
        )
    return wanted


def nodes_to_share(numa: bool, n_threads: int) -> list[MemoryNode]:
    """The nodes of memory among which weights and threads are shared out; none where there is one."""
    nodes = memory_nodes()[:n_threads] if numa else []
    return nodes if len(nodes) > 1 else []


def activation_type(wanted: str, file: GGUFFile) -> ActivationType:
    """What tokens are in products, "auto" decided. Raises GlmqError."""
    if wanted in ACTIVATION_TYPES:
        return cast("ActivationType", wanted)
    if wanted != "auto":
        raise GlmqError(
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
    observes: Callable[[str], bool] = lambda name: False,
    nodes: Sequence[MemoryNode] = (),
    prediction: GGUFFile | None = None,
    reserved: int = 0,
) -> tuple[Program, OffloadedExperts | None, MemoryPlan]:
    """The model's program, what keeps experts on disk where not all weights fit, and the plan of memory.

    observes: of which tensors the program adds up the inputs. nodes: of memory, among which weights are
    shared out as they are read; none where they are not. prediction: the file with the layer of multi-token
    prediction, this or another, where the program is to predict. reserved: bytes of the memory that something
    else needs, such as a draft model. The other arguments are those of `glmq.load`. Raises GlmqError for what
    cannot be.
    """
    transcoded = transcoded_tensors(load)
    if transcoded is not None and nodes:
        raise GlmqError(
            "weights that are transcoded are not shared out among nodes of memory; choose mmap or read, or do"
            " not share them out",
            setting="load",
        )
    cache_type = known_cache_type(cache_type)
    weights = Weights(file, observes=observes, transcoded=transcoded)
    layer = None if prediction is None else _weights_of_layer(prediction, file, weights.rewritten, transcoded)
    counted = counting_program(file, weights, n_threads, cache_type, activations, layer)
    needs = replace(needs_of(file, counted, n_ctx, transcoded, prediction), beside=reserved)
    plan = plan_memory(needs, ram)
    if (load != "mmap" or nodes) and not plan.in_memory:
        raise cannot_read_all(needs, plan.budget)
    if transcoded is not None:
        transcoded.make(file, n_threads, progress)
    elif load == "read" or nodes:
        hold_in_memory(file, progress, nodes)
    elif plan.in_memory and plan.batch == counted.tape.max_tokens:
        return counted, None, plan
    if prediction is not None and prediction is not file and (load != "mmap" or not plan.in_memory):
        hold_in_memory(prediction, progress)
    experts = None if plan.in_memory else OffloadedExperts(file, plan, needs)
    disk = experts.disk if experts else None
    rewritten = weights.rewritten
    try:
        weights = Weights(file, disk, rewritten, observes, transcoded)
        if prediction is not None:
            layer = _weights_of_layer(prediction, file, rewritten, transcoded, disk)
        program = build_function(file)(file, weights, plan.batch, n_threads, cache_type, activations, layer)
        program.remarks += [transcoded.remark()] if transcoded is not None else []
        return program, experts, plan
    except BaseException:
        if experts is not None:
            experts.close()
        raise


def _weights_of_layer(
    prediction: GGUFFile,
    file: GGUFFile,
    rewritten: dict[str, np.ndarray],
    transcoded: TranscodedTensors | None,
    disk: Disk | None = None,
) -> Weights:
    """The weights with the layer of multi-token prediction, all of which stay in memory."""
    if prediction is not file:
        return Weights(prediction)
    return Weights(file, disk, rewritten, transcoded=transcoded, keeps_experts=True)


def transcoded_tensors(load: str) -> TranscodedTensors | None:
    """What is transcoded of a model that is loaded so, None where nothing is. Raises GlmqError."""
    if load not in LOAD_MODES:
        raise GlmqError(f"{load!r} is no way to load a model; choose {', '.join(LOAD_MODES)}", setting="load")
    return TranscodedTensors() if load == "transcode" else None


def known_cache_type(name: str) -> str:
    """One of `CACHE_TYPES`, or two of keys and of values, however spelled. Raises GlmqError for others."""
    keys, values = types_of(name.upper())
    for kept_as in (keys, values):
        if kept_as not in CACHE_TYPES:
            raise GlmqError(
                f"a KV cache of type {kept_as} is not known; choose {' or '.join(CACHE_TYPES)}",
                setting="cache_type",
            )
    return type_of_both(keys, values)


def counting_program(
    file: GGUFFile,
    weights: Weights,
    n_threads: int,
    cache_type: str,
    activations: ActivationType,
    prediction: Weights | None = None,
) -> Program:
    """The program for the largest batch, which tells what smaller ones need.

    Memory that no batch touches is not taken from the system, so a program that only counts costs none.
    """
    build = build_function(file)
    return build(file, weights, _batch_sizes(file)[-1], n_threads, cache_type, activations, prediction)


def needs_of(
    file: GGUFFile,
    program: Program,
    n_ctx: int,
    transcoded: TranscodedTensors | None = None,
    prediction: GGUFFile | None = None,
) -> Needs:
    """What a model needs to be wholly in memory, counted with a program for its largest batch.

    transcoded: the tensors of which the program has other types than the file. prediction: the file with the
    layer of multi-token prediction, where the program has it.
    """
    more, of_experts = (0, 0) if transcoded is None else (transcoded.more_bytes, transcoded.more_expert_bytes)
    of_layer_alone = 0 if prediction is None or prediction is file else prediction.n_bytes
    kept = expert_bytes(file, prediction_block(file)) if prediction is file else 0
    return Needs(
        path=file.path,
        weights=file.n_bytes + program.rewritten_bytes + more + of_layer_alone,
        experts=expert_bytes(file) - kept + of_experts if program.expert_layers else 0,
        kv_cache=program.cache_shape.n_bytes(n_ctx),
        work={batch: program.n_bytes(batch) for batch in _batch_sizes(file)},
        n_ctx=n_ctx,
    )


def layer_by_itself(
    file: GGUFFile,
    n_ctx: int,
    n_threads: int,
    cache_type: str,
    activations: ActivationType,
    ram: int | None,
) -> tuple[GGUFFile | None, list[str]]:
    """The file, where its layer of multi-token prediction is used unless the user says otherwise, else None.

    It is where the model is wholly in memory with it: where experts come from disk a draft costs more of them
    than it saves, and the layer takes their memory. And remarks, where the layer cannot be used.
    """
    if prediction_block(file) is None:
        return None, []
    weights = Weights(file)
    layer = _weights_of_layer(file, file, weights.rewritten, None)
    try:
        counted = counting_program(file, weights, n_threads, known_cache_type(cache_type), activations, layer)
        needs = needs_of(file, counted, n_ctx, prediction=file)
    except GlmqError as error:  # what concerns the rest of the file as well is told as the model is loaded
        return None, [f"the layer of multi-token prediction is left out: {error}"]
    fits = needs.total <= (free_budget(needs) if ram is None else ram)
    return (file if fits else None), []


def _batch_sizes(file: GGUFFile) -> tuple[int, ...]:
    return BATCH_SIZES if expert_bytes(file) else BATCH_SIZES[:1]
