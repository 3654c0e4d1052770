"""How a model is loaded: what the caller asks for, with all that was left open decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from glmq_kernels.errors import GlmqError
from glmq_kernels.machine.cores import check_threads, core_count
from glmq_kernels.ops.attention.cache_layout import CACHE_TYPES, type_of_both, types_of
from glmq_kernels.threads.tape import ACTIVATION_TYPES, ActivationType

from .argument_checks import check_count
from .gguf import GGUFFile
from .session import trained_context

DEFAULT_CONTEXT = 16384
"""Positions of a context unless the caller says otherwise or the model has fewer."""

SMALL_MODELS = range(10_000_000, 500_000_000)
"""Parameters of language models that react to the rounding of activations to 8 bits. Their activations are
float32 by default. Files of less are random ones for tests."""


@dataclass(frozen=True)
class ModelSettings:
    """What a model's program and its memory depend on beside its file.

    n_ctx: positions of a context. cache_type: of keys and values, as `known_cache_type` spells it. ram: bytes
    for everything; None for what is free.
    """

    n_ctx: int
    n_threads: int
    cache_type: str
    activations: ActivationType
    ram: int | None


def model_settings(
    file: GGUFFile,
    n_ctx: int | None = None,
    n_threads: int | None = None,
    cache_type: str = "F16",
    activations: str = "auto",
    ram: int | None = None,
) -> ModelSettings:
    """Settings with defaults in the place of None and of "auto". Raises GlmqError for what cannot be."""
    check_threads(n_threads)
    return ModelSettings(
        context_size(file, n_ctx), n_threads or core_count(), known_cache_type(cache_type),
        activation_type(activations, file), ram,
    )  # fmt: skip


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
