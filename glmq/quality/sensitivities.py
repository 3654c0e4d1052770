"""How much an error in each tensor changes what a model predicts, measured by running it.

One tensor after the other is rounded to a coarse type, the model reads some chunks of text with it, and its
predictions are compared with those of the model as it is. Divergence grows in proportion to the square of a
small error, so that one such run tells of all types (`glmq_convert.target_size`). Of models with many layers
some are tried, evenly spread; what others are like follows from them.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
from glmq_convert.conversion import gguf_model_source
from glmq_convert.importance import Importance
from glmq_convert.mixes import untyped_with_importance
from glmq_convert.mixes.tensor_kinds import kind_of, layer_of, stays_f32
from glmq_convert.plan import PlannedTensor, Weights
from glmq_convert.portions import Portion, portions
from glmq_convert.target_size.sampled_errors import sampled_errors, spread
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.quantize import UnfitWeightError, quantize_rows
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.machine.cores import processor_count

from ..gguf import GGUFFile, open_gguf
from ..importance.texts import read_text
from ..memory_plan import HEADROOM, show_size
from ..model import Model
from ..model_file import model_file
from ..session import trained_context
from ..system_memory import available_memory
from .chunks import DEFAULT_CONTEXT, Chunks, chunks_of_text
from .divergence import divergence
from .logits_file import LogitsFile, check_logits_target, writing_logits
from .perplexity import perplexity

COARSE = ("Q3_K", "Q4_0")
"""What tensors are rounded to: the first whose blocks divide their rows."""

LEAST = 1e-7
"""What counts as the divergence of a tensor whose error does not show."""

Told = Callable[[str, float], None]


class DoesNotFitInMemory(GlmqError):
    """A model that cannot be run often enough, because its experts would come from disk every time."""


@dataclass(frozen=True)
class SensitivityOptions:
    """How sensitivities are measured.

    n_chunks: chunks of 512 tokens that are read for each tensor, spread evenly over the texts. n_layers: in
    how many of the layers that have a kind of tensor it is tried, at most. n_threads: default all cores.
    """

    n_chunks: int = 4
    n_layers: int = 6
    n_threads: int | None = None


def measure_sensitivities(
    model: str | Path,
    texts: Sequence[str | Path],
    options: SensitivityOptions | None = None,
    *,
    importance: Importance | None = None,
    progress: Told | None = None,
) -> dict[str, float]:
    """By the names of some tensors, the divergence that an error as large as its outputs would cause.

    model: a GGUF file, or a demo model's name, best of BF16 or Q8_0. texts: files of text or conversations.
    importance: with which the file will be quantized, if any. progress(text, fraction) is told how far it is.
    Raises DoesNotFitInMemory, GlmqError for a text that is too short and for what cannot be used.
    """
    options = options or SensitivityOptions()
    tell = progress or (lambda text, fraction: None)
    with open_gguf(model_file(model, progress)) as file, tempfile.TemporaryDirectory() as folder:
        check_fits(file.path, file.n_bytes)
        load = partial(_load, file, options)
        base = [_base(load({}), text, n, Path(folder)) for text, n in _shares(texts, options.n_chunks)]
        return dict(_measured(file, load, base, importance, options, tell))


def check_fits(model: Path, n_bytes: int) -> None:
    """Raise DoesNotFitInMemory for a model with so many bytes of weights, unless memory has room for it."""
    available = available_memory()
    if available is not None and n_bytes > HEADROOM * available:
        raise DoesNotFitInMemory(
            f"{model} needs {show_size(n_bytes)} to be run, and {show_size(available)} of memory are free"
        )


def _load(
    file: GGUFFile, options: SensitivityOptions, weights: Mapping[str, tuple[str, np.ndarray]]
) -> Model:
    """The model with other weights in some tensors, exact but for these."""
    model = Model(
        file.with_weights(weights), n_ctx=min(4 * DEFAULT_CONTEXT, trained_context(file, DEFAULT_CONTEXT)),
        n_threads=options.n_threads, activations="f32",
    )  # fmt: skip
    if model.experts is not None:
        model.close()
        raise DoesNotFitInMemory(f"{file.path} does not fit into the memory that is free")
    return model


def _shares(texts: Sequence[str | Path], n_chunks: int) -> Iterator[tuple[Path, int]]:
    """Each text with its number of the chunks."""
    for i, text in enumerate(texts):
        yield Path(text), max(1, n_chunks * (i + 1) // len(texts) - n_chunks * i // len(texts))


def _base(model: Model, text: Path, n_chunks: int, folder: Path) -> LogitsFile:
    """What the model as it is predicts for some chunks of a text; the model is closed then."""
    with model:
        given = read_text(text, model)
        n_ctx = min(DEFAULT_CONTEXT, model.n_ctx)
        every = chunks_of_text(model.tokenizer, given.content, n_ctx, special=given.special)
        chunks = Chunks(every.tokens[spread(len(every), n_chunks)], every.begins_with)
        handle, name = tempfile.mkstemp(suffix=".kld", dir=folder)
        os.close(handle)
        target = check_logits_target(Path(name), force=True)
        with writing_logits(target, chunks, model.n_vocab) as writer:
            perplexity(model, chunks, base=writer)
        return LogitsFile(target.path)


def _measured(
    file: GGUFFile,
    load: Callable[[Mapping[str, tuple[str, np.ndarray]]], Model],
    base: Sequence[LogitsFile],
    importance: Importance | None,
    options: SensitivityOptions,
    tell: Told,
) -> Iterator[tuple[str, float]]:
    """The sensitivity of one tensor after the other."""
    source = gguf_model_source(file)
    tensors = untyped_with_importance(source.tensors, importance)
    weights = source.weights([])  # all as floats
    tried = _tried(tensors, options.n_layers)
    types = {tensor.name: name for tensor in tried if (name := _coarse_type(tensor.columns))}
    tell("measuring the errors of a coarse type", 0.0)
    errors = sampled_errors(tried, weights, options.n_threads, lambda each: [types[each.name]])
    began = time.monotonic()
    for i, tensor in enumerate(tried):
        tell(_how_far(tensor.name, i, len(tried), time.monotonic() - began), i / len(tried))
        type_name = types[tensor.name]
        rounded = _rounded(tensor, weights, type_name, options.n_threads)
        with load({tensor.name: (type_name, rounded)}) as model:
            of_texts = [divergence(model, each).kl.value for each in base]
        if error := errors[tensor.name][type_name]:
            yield tensor.name, max(LEAST, sum(of_texts) / len(of_texts)) / error


def _how_far(name: str, n_done: int, n: int, seconds: float) -> str:
    text = f"measuring sensitivities: {name}, {n_done + 1} of {n}"
    if not n_done:
        return text
    return f"{text}, {timedelta(seconds=round((n - n_done) * seconds / n_done))} left"


def _tried(tensors: Sequence[PlannedTensor], n_layers: int) -> list[PlannedTensor]:
    """The tensors that are rounded: of each kind those of some layers, evenly spread."""
    mtp_layers = {layer_of(tensor.name) for tensor in tensors if ".nextn." in tensor.name}
    by_kind = defaultdict(list)
    for tensor in tensors:
        runs = layer_of(tensor.name) not in mtp_layers
        if runs and not stays_f32(tensor) and _coarse_type(tensor.columns):
            by_kind[kind_of(tensor.name)].append(tensor)
    return [some[i] for some in by_kind.values() for i in _tried_layers(len(some), n_layers)]


def _tried_layers(n: int, most: int) -> list[int]:
    """Up to `most` of the numbers below n: the first and last two, which differ most, and some between."""
    if n <= most or most < 6:
        return spread(n, most)
    return [0, 1, *(2 + i for i in spread(n - 4, most - 2)[1:-1]), n - 2, n - 1]


def _coarse_type(columns: int) -> str | None:
    return next((name for name in COARSE if columns % KERNEL_TYPES[name].block == 0), None)


def _rounded(tensor: PlannedTensor, weights: Weights, type_name: str, n_threads: int | None) -> np.ndarray:
    """All of a tensor as a type, uint8 (n,)."""
    typed = replace(tensor, type=type_name)
    rounded = np.empty(typed.n_bytes, np.uint8)

    def work(portion: Portion) -> None:
        buffer = np.empty(portion.n_rows * tensor.columns * weights.item_bytes(portion.source), np.uint8)
        rows = weights.read(portion.source, portion.first_row, portion.n_rows, buffer)
        importance = None if tensor.importance is None else tensor.importance[portion.matrix]
        out = rounded[portion.offset : portion.offset + portion.n_bytes]
        quantize_rows(rows, type_name, out, importance)

    with ThreadPoolExecutor(n_threads or processor_count()) as pool:
        try:
            for _ in pool.map(work, portions(0, [typed], weights, 0)):
                pass
        except UnfitWeightError as error:
            raise GlmqError(f"tensor {tensor.name} {error}; such a model cannot be run") from None
    return rounded
