"""Importance for the tensors of a file, and what becomes of those that cannot be without and have none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.quantize import NEEDS_IMPORTANCE
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

from ..importance import Importance
from ..plan import PlannedTensor
from .choosing import fitting
from .tensor_kinds import kind_of, layer_of
from .type_choice import TypeChoice

INSTEAD = {"IQ3_XXS": "Q3_K"}
"""What takes the place of types that need importance; of those that are not here, Q2_K."""


POOR_WITHOUT = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")
"""Types in which a matrix loses too much without importance."""


def check_not_poor(tensors: Sequence[PlannedTensor], choice: TypeChoice) -> None:
    """Raise GlmqError for a mix that llama-quantize refuses without an importance matrix.

    Types that the user gives to single tensors are as wanted.
    """
    poor = (*POOR_WITHOUT, "Q2_K") if choice.mix.name == "Q2_K_S" else POOR_WITHOUT
    for tensor in tensors:
        if layer_of(tensor.name) < 0 or tensor.type not in poor:
            continue
        if not any(re.search(expression, tensor.name) for expression, _ in choice.overrides):
            raise GlmqError(
                f"{choice.mix.name} needs an importance matrix; give one, or choose a larger type",
                setting="importance",
            )


def untyped_with_importance(
    tensors: Sequence[PlannedTensor], importance: Importance | None
) -> list[PlannedTensor]:
    """The tensors as F32, to which types are still to be found, with the importance of their columns.

    Raises GlmqError where the importance matrix is of another model.
    """
    untyped = [replace(tensor, type="F32") for tensor in tensors]
    return [_told(tensor, importance) for tensor in untyped] if importance else untyped


def with_importance(
    tensors: Sequence[PlannedTensor], importance: Importance | None
) -> tuple[list[PlannedTensor], list[str]]:
    """The tensors with the importance of their columns, and remarks.

    An importance matrix does not tell of the embedding, the head and the layers of multi-token prediction:
    where these would have a type that needs importance, they get one that does not.
    Raises GlmqError for any other tensor without importance whose type needs it.
    """
    if importance:
        tensors = [_with(tensor, importance) for tensor in tensors]
    lacking = [each for each in tensors if each.type in NEEDS_IMPORTANCE and each.importance is None]
    never_told = [each.name for each in lacking if _is_never_told(each, tensors)]
    others = [each for each in lacking if each.name not in never_told]
    if others:
        raise _lacking(others[0], importance)
    settled = [
        replace(each, type=fitting(INSTEAD.get(each.type, "Q2_K"), each.columns))
        if each.name in never_told
        else each
        for each in tensors
    ]
    return settled, _remarks(lacking, never_told, settled)


def _lacking(tensor: PlannedTensor, importance: Importance | None) -> GlmqError:
    would_be = f"tensor {tensor.name} would be {tensor.type}, which needs"
    if importance is None:
        return GlmqError(
            f"{would_be} an importance matrix; give one, or choose a larger type", setting="importance"
        )
    return GlmqError(
        f"{would_be} importance, and {importance.file} tells nothing of it; choose another type for it",
        setting="tensor_type",
    )


def _with(tensor: PlannedTensor, importance: Importance) -> PlannedTensor:
    return tensor if KERNEL_TYPES[tensor.type].is_float else _told(tensor, importance)


def _told(tensor: PlannedTensor, importance: Importance) -> PlannedTensor:
    n_matrices = tensor.shape[0] if len(tensor.shape) > 2 else 1
    return replace(tensor, importance=importance.of(tensor.name, n_matrices, tensor.columns))


def _is_never_told(tensor: PlannedTensor, tensors: Sequence[PlannedTensor]) -> bool:
    layer = layer_of(tensor.name)
    if layer < 0:
        return True
    mtp_layers = {layer_of(each.name) for each in tensors if kind_of(each.name).startswith("nextn.")}
    return layer in mtp_layers


def _remarks(
    lacking: Sequence[PlannedTensor], never_told: Sequence[str], settled: Sequence[PlannedTensor]
) -> list[str]:
    if not never_told:
        return []
    now = next(each.type for each in settled if each.name == never_told[0])
    before = next(each.type for each in lacking if each.name == never_told[0])
    return [
        f"{len(never_told)} tensors, such as {never_told[0]}, are {now} and not {before}, which needs"
        " importance, of which nothing is known for them"
    ]
