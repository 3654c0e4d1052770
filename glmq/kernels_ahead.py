"""Compiling kernels ahead: which ones a model needs, and the folder of them that a program carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from glmq_kernels.disk_reads.disk_reader import KERNELS as READER_KERNELS
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.tensor_types import MATRIX_TYPES, TRANSCODED_TYPES
from glmq_kernels.formats.transcoding import kernel_name
from glmq_kernels.jit import isa
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.jit.kernel_folder import (
    SYSTEMS,
    KernelFolder,
    LibraryEntry,
    NewLibrary,
    read_folder,
    system,
    write_folder,
)
from glmq_kernels.jit.portable_levels import PORTABLE, portable_levels
from glmq_kernels.jit.store import ENTRY_POINT, object_codes
from glmq_kernels.ops.attention.cache_layout import CACHE_TYPES
from glmq_kernels.strings.string_offsets import KERNEL as STRINGS_KERNEL
from glmq_kernels.threads.tape import ACTIVATION_TYPES
from glmq_kernels.threads.thread_pool import KERNELS as POOL_KERNELS

from .demo import TOOLS_MODEL
from .gguf import GGUFFile, open_gguf
from .models import build_function
from .models.trunk import prediction_block
from .transcoded_tensors import TranscodedTensors
from .weights import Weights

ATTENTIONS = ((64, 64, "apart"), (128, 128, "apart"), (576, 512, "in_keys"))
"""Sizes of keys and of values in `every_kernel`, and where values are: of GLM-4.5 to 4.7, GLM-4.7-Flash and
most Llamas."""

FLASH_HEADS = "512:192:64:256"
"""Sizes of GLM-4.7-Flash's latent attention in `every_kernel`: kv_rank, nope_dim, rope_dim, value_dim."""

OF_LATENT_ATTENTION = (
    "ops.heads.kernel.gather_heads",
    "ops.heads.kernel.multiply_heads",
    "ops.expanded_attention.kernel.attend_expanded:",
    "formats.dequantize.rows:",
)
"""Kernels that only GLM-4.7-Flash has."""

OF_PREDICTION = ("ops.joined_norms.kernel.join",)
"""Kernels that only layers of multi-token prediction have."""

CACHES = (*CACHE_TYPES, "Q8_0/Q4_0")
"""Types of caches whose kernels are compiled ahead; of two types only keys finer than values."""

ALWAYS = (STRINGS_KERNEL, *POOL_KERNELS, *READER_KERNELS)
"""Kernels that stand on no tape."""

_BATCH = 512


def kernels_of(file: GGUFFile) -> set[str]:
    """Names of the kernels that a model needs on the level of instructions in use, however it is loaded."""
    build = build_function(file)
    found = set(ALWAYS)
    rewritten: dict[str, np.ndarray] = {}
    shape = build(file, Weights(file, rewritten=rewritten), _BATCH, 1, "F16", "int8").cache_shape
    for cache_type in _caches_of("in_keys" if shape.values_in_keys else "apart"):
        for activations in ACTIVATION_TYPES:
            for transcoded in (None, TranscodedTensors()):
                weights = Weights(file, rewritten=rewritten, transcoded=transcoded)
                layer = weights if prediction_block(file) is not None else None
                program = build(file, weights, _BATCH, 1, cache_type, activations, layer)
                for each in (program, program.prediction):
                    found.update(each.tape.kernel_names() if each else ())
                found.update(transcoded.kernel_names() if transcoded else ())
    return found


def every_kernel() -> set[str]:
    """Names of the kernels for models of every tensor type with one of `ATTENTIONS`, and for the demos."""
    with open_gguf(TOOLS_MODEL) as mixture_of_experts:
        found = kernels_of(mixture_of_experts).union(OF_LATENT_ATTENTION, OF_PREDICTION)
    return found.union(map(kernel_name, TRANSCODED_TYPES), *map(_variants, found))


def _caches_of(values_place: str) -> Sequence[str]:
    """Types of caches whose values are there."""
    return CACHES if values_place == "apart" else CACHE_TYPES


def _variants(name: str) -> Iterator[str]:
    """A kernel for all that it may be made for, where it is one of several."""
    kind, *parameters = name.split(":")
    if kind.endswith(".attend"):
        for rows in isa.current().attention_rows:
            for keys, values, place in ATTENTIONS:
                yield from (f"{kind}:{rows}:{keys}:{values}:{cache}:{place}" for cache in _caches_of(place))
    elif kind.endswith(".attend_panels"):
        for keys, values, place in ATTENTIONS:
            if place == "apart":
                yield from (f"{kind}:{keys}:{values}:{cache}" for cache in CACHES if cache != "F32")
    elif kind.endswith(".attend_expanded"):
        rows = max(isa.current().attention_rows)
        yield from (f"{kind}:{rows}:{FLASH_HEADS}:{cache}" for cache in CACHE_TYPES)
    elif parameters and parameters[0] in CACHES and kind.endswith(".rotate_and_store"):
        places = {place for *_, place in ATTENTIONS}
        yield from (f"{kind}:{cache}:{place}" for place in places for cache in _caches_of(place))
    elif parameters:
        floats = kind.startswith("gemm.dequantized.")
        yield from (
            f"{kind}:{name}" for name, known in MATRIX_TYPES.items() if not (floats and known.is_float)
        )
    else:
        yield name


def compile_ahead(
    models: Sequence[Path], every: bool, levels: Sequence[str], folder: Path, progress: Progress | None = None
) -> KernelFolder:
    """Put the kernels that models need into a folder, beside those that it has of this version of glmq.

    every: also those of every tensor type. levels: names of levels of instructions (`portable_levels.py`),
    each of which becomes a library. Raises GlmqError.
    """
    if system() not in SYSTEMS:
        raise GlmqError(f"kernels can be compiled ahead on {', '.join(SYSTEMS)} so far; this is {system()}")
    wanted = portable_levels(levels)
    files = [open_gguf(path) for path in models]
    held = _held(folder)
    libraries: dict[str, NewLibrary | LibraryEntry] = {}
    for name, level in PORTABLE.items():
        old = held.get(name)
        if name not in wanted:
            if old is not None:
                libraries[name] = old
            continue
        with isa.forced(level.isa):
            names = set().union(*map(kernels_of, files), every_kernel() if every else ())
        if old is not None and old.level == asdict(level.isa):
            names.update(old.kernels)
        told = _progress_of(name, len(libraries), len(wanted), progress)
        codes = object_codes(sorted(names), level.isa, told)
        libraries[name] = NewLibrary(asdict(level.isa), level.needs, codes)
    return write_folder(folder, libraries, ENTRY_POINT)


def _held(folder: Path) -> Mapping[str, LibraryEntry]:
    """What a folder holds; nothing where it is none, is damaged or of another version."""
    try:
        return read_folder(folder).libraries
    except GlmqError:
        return {}


def _progress_of(name: str, i: int, n: int, progress: Progress | None) -> Progress | None:
    """Tells of the i-th of n levels."""
    if progress is None:
        return None

    def tell(text: str, fraction: float) -> None:
        progress(f"compiling kernels for {name} ({i + 1} of {n})", fraction)

    return tell
