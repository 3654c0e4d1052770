"""The types of all tensors of a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.quantize import TARGET_TYPES
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

from ..json_fields import shown
from ..plan import PlannedTensor
from .classic import classic_types
from .presets import preset_types
from .tensor_kinds import LATENT, kind_of, stays_f32
from .type_choice import TypeChoice

WHERE_ROWS_DO_NOT_DIVIDE = {
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
    "IQ4_XS": "IQ4_NL", "IQ3_S": "IQ4_NL", "IQ3_XXS": "IQ4_NL", "IQ2_S": "IQ4_NL", "IQ2_XS": "IQ4_NL",
    "IQ2_XXS": "IQ4_NL", "IQ1_M": "IQ4_NL", "IQ1_S": "IQ4_NL", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0",
}  # fmt: skip
"""What stands in for types in blocks of 256, as in llama-quantize; where 32 do not divide either, F16."""

KEPT_FINE = "Q8_0"


def choose_types(
    tensors: Sequence[PlannedTensor], choice: TypeChoice, has_importance: bool
) -> list[PlannedTensor]:
    """The planned tensors with their types.

    has_importance: whether there is an importance matrix, by which some mixes differ.
    Raises GlmqError for an expression that finds no tensor.
    """
    types = _types_of_mix(tensors, choice, has_importance)
    types |= _types_by_name(types, choice)
    return [replace(each, type=fitting(types.get(each.name, "F32"), each.columns)) for each in tensors]


def check_writable(tensors: Sequence[PlannedTensor]) -> None:
    """Raise GlmqError for a tensor of a type that cannot be written."""
    for tensor in tensors:
        if tensor.type not in TARGET_TYPES:
            raise GlmqError(
                f"tensor {tensor.name} would be {tensor.type}, which cannot be written; there are"
                f" {', '.join(TARGET_TYPES)}",
                setting="type",
            )


def _types_of_mix(
    tensors: Sequence[PlannedTensor], choice: TypeChoice, has_importance: bool
) -> dict[str, str]:
    """Types by names, of the tensors that may have another than F32."""
    mix = choice.mix
    if choice.pure:
        return {tensor.name: mix.base for tensor in tensors if not stays_f32(tensor)}
    if mix.experts_down:
        return preset_types(tensors, mix)
    types = classic_types(tensors, mix, has_importance)
    if choice.classic or KERNEL_TYPES[mix.base].is_float:
        return types
    fine = {name: KEPT_FINE for name in types if ".nextn." in name or kind_of(name) in LATENT}
    return types | fine


def _types_by_name(types: dict[str, str], choice: TypeChoice) -> dict[str, str]:
    """Types that the user gives to tensors, each of the first expression that finds its name."""
    found: dict[str, str] = {}
    if choice.token_embedding:
        found["token_embd.weight"] = choice.token_embedding
    if choice.output:
        found["output.weight" if "output.weight" in types else "token_embd.weight"] = choice.output
    for expression, type_name in reversed(choice.overrides):
        names = [name for name in types if re.search(expression, name)]
        if not names:
            raise GlmqError(
                f"no tensor that could be quantized has a name with {shown(expression)} in it;"
                f" names are such as {', '.join(list(types)[-3:])}",
                setting="tensor_type",
            )
        found |= dict.fromkeys(names, type_name)
    return {name: type_name.upper() for name, type_name in found.items()}


def fitting(type_name: str, columns: int) -> str:
    """A type, or what stands in for it where rows do not divide into its blocks."""
    if columns % KERNEL_TYPES[type_name].block:
        type_name = WHERE_ROWS_DO_NOT_DIVIDE.get(type_name, "F16")
    return type_name if columns % KERNEL_TYPES[type_name].block == 0 else "F16"
