"""From an open file and what the caller asks for to a model's program, with its weights where they belong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.machine.numa import MemoryNode, memory_nodes

from .experts.disk import Disk
from .experts.offloaded_experts import OffloadedExperts, expert_bytes
from .file_contents import hold_in_memory
from .gguf import GGUFFile
from .memory_plan import MemoryPlan, Needs, cannot_read_all, free_budget, plan_memory
from .model_settings import ModelSettings
from .models import build_function
from .models.trunk import prediction_block
from .program import Program
from .transcoded_tensors import TranscodedTensors
from .weights import Weights

LOAD_MODES = ("mmap", "read", "transcode")

NO_NODES = "this machine's memory is one node (NUMA), or there is one thread; nothing is shared out"
"""What is told where weights were to be shared out among nodes."""

BATCH_SIZES = (512, 1024, 2048)
"""Tokens of the largest batch. Of models with routed experts, memory decides: the more tokens, the more each
expert has for the unpacking of its weights, and the less often all experts come from disk. Dense models gain
nothing by more than the first."""


def nodes_to_share(numa: bool, n_threads: int) -> list[MemoryNode]:
    """The nodes of memory among which weights and threads are shared out; none where there is one."""
    nodes = memory_nodes()[:n_threads] if numa else []
    return nodes if len(nodes) > 1 else []


def prepare_program(
    file: GGUFFile,
    settings: ModelSettings,
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
    else needs, such as a draft model. load, progress: as of `glmq.load`. Raises GlmqError for what cannot be.
    """
    transcoded = transcoded_tensors(load)
    if transcoded is not None and nodes:
        raise GlmqError(
            "weights that are transcoded are not shared out among nodes of memory; choose mmap or read, or do"
            " not share them out",
            setting="load",
        )
    weights = Weights(file, observes=observes, transcoded=transcoded)
    layer = None if prediction is None else _weights_of_layer(prediction, file, weights.rewritten, transcoded)
    counted = counting_program(file, weights, settings, layer)
    needs = replace(needs_of(file, counted, settings.n_ctx, transcoded, prediction), beside=reserved)
    plan = plan_memory(needs, settings.ram)
    if (load != "mmap" or nodes) and not plan.in_memory:
        raise cannot_read_all(needs, plan.budget)
    if transcoded is not None:
        transcoded.make(file, settings.n_threads, progress)
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
        program = _build(file, weights, plan.batch, settings, layer)
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


def counting_program(
    file: GGUFFile, weights: Weights, settings: ModelSettings, prediction: Weights | None = None
) -> Program:
    """The program for the largest batch, which tells what smaller ones need.

    Memory that no batch touches is not taken from the system, so a program that only counts costs none.
    """
    return _build(file, weights, _batch_sizes(file)[-1], settings, prediction)


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


def layer_by_itself(file: GGUFFile, settings: ModelSettings) -> tuple[GGUFFile | None, list[str]]:
    """The file, where its layer of multi-token prediction is used unless the user says otherwise, else None.

    It is where the model is wholly in memory with it: where experts come from disk a draft costs more of them
    than it saves, and the layer takes their memory. And remarks, where the layer cannot be used.
    """
    if prediction_block(file) is None:
        return None, []
    weights = Weights(file)
    layer = _weights_of_layer(file, file, weights.rewritten, None)
    try:
        counted = counting_program(file, weights, settings, layer)
        needs = needs_of(file, counted, settings.n_ctx, prediction=file)
    except GlmqError as error:  # what concerns the rest of the file as well is told as the model is loaded
        return None, [f"the layer of multi-token prediction is left out: {error}"]
    fits = needs.total <= (free_budget(needs) if settings.ram is None else settings.ram)
    return (file if fits else None), []


def _build(
    file: GGUFFile, weights: Weights, max_tokens: int, settings: ModelSettings, prediction: Weights | None
) -> Program:
    return build_function(file)(
        file, weights, max_tokens, settings.n_threads, settings.cache_type, settings.activations, prediction
    )


def _batch_sizes(file: GGUFFile) -> tuple[int, ...]:
    return BATCH_SIZES if expert_bytes(file) else BATCH_SIZES[:1]
