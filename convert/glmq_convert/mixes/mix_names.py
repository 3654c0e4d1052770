"""The names of mixes and the numbers that stand for them in files."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

from ..json_fields import shown


@dataclass(frozen=True)
class Mix:
    """A named way of giving types to tensors.

    base: the type of tensors for which no rule says otherwise. file_type: its `general.file_type`.
    experts_down: of a preset, the type of the routed experts' down matrices; `base` is that of the others'.
    """

    name: str
    base: str
    file_type: int
    experts_down: str | None = None


CLASSIC = {
    name: Mix(name, base, number)
    for name, base, number in (
        ("F32", "F32", 0), ("F16", "F16", 1), ("BF16", "BF16", 32), ("Q8_0", "Q8_0", 7),
        ("Q6_K", "Q6_K", 18), ("Q5_K_M", "Q5_K", 17), ("Q5_K_S", "Q5_K", 16),
        ("Q5_1", "Q5_1", 9), ("Q5_0", "Q5_0", 8),
        ("Q4_K_M", "Q4_K", 15), ("Q4_K_S", "Q4_K", 14), ("Q4_1", "Q4_1", 3), ("Q4_0", "Q4_0", 2),
        ("MXFP4_MOE", "Q8_0", 38), ("IQ4_NL", "IQ4_NL", 25), ("IQ4_XS", "IQ4_XS", 30),
        ("Q3_K_L", "Q3_K", 13), ("Q3_K_M", "Q3_K", 12), ("Q3_K_S", "Q3_K", 11),
        ("IQ3_M", "IQ3_S", 27), ("IQ3_S", "IQ3_S", 26), ("IQ3_XS", "IQ3_S", 22), ("IQ3_XXS", "IQ3_XXS", 23),
        ("Q2_K", "Q2_K", 10), ("Q2_K_S", "Q2_K", 21),
        ("IQ2_M", "IQ2_S", 29), ("IQ2_S", "IQ2_XS", 28), ("IQ2_XS", "IQ2_XS", 20), ("IQ2_XXS", "IQ2_XXS", 19),
        ("IQ1_M", "IQ1_M", 31), ("IQ1_S", "IQ1_S", 24),
    )
}  # fmt: skip
"""The names of llama-quantize, large files first."""

PRESETS = {
    f"MOE_{base}": Mix(f"MOE_{base}", base, CLASSIC[nearest].file_type, down)
    for base, down, nearest in (
        ("Q6_K", "Q8_0", "Q6_K"), ("Q5_K", "Q6_K", "Q5_K_M"), ("Q4_K", "Q5_K", "Q4_K_M"),
        ("IQ4_XS", "Q5_K", "IQ4_XS"), ("Q3_K", "Q4_K", "Q3_K_M"), ("IQ3_S", "IQ4_XS", "IQ3_M"),
        ("IQ3_XXS", "IQ3_S", "IQ3_XXS"), ("Q2_K", "Q3_K", "Q2_K"), ("IQ2_S", "IQ3_XXS", "IQ2_M"),
        ("IQ2_XXS", "IQ2_S", "IQ2_XXS"), ("IQ1_M", "IQ2_XXS", "IQ1_M"),
    )
}  # fmt: skip
"""Mixes of today's makers. A file gets the number of the classic name that is nearest in size."""

ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
"""Other names that llama-quantize takes."""

MIXES = {**CLASSIC, **PRESETS}


def mix_named(name: str) -> Mix:
    """The mix of a name, in small letters or large. Raises GlmqError with the nearest name."""
    upper = name.upper()
    found = MIXES.get(ALIASES.get(upper, upper))
    if found is None:
        raise _unknown(name, "type", [*MIXES, *ALIASES], "type")
    return found


def tensor_type_named(name: str, setting: str) -> str:
    """A tensor type, in small letters or large. Raises GlmqError, about a setting, with the nearest name."""
    if name.upper() not in KERNEL_TYPES:
        raise _unknown(name, "tensor type", list(KERNEL_TYPES), setting)
    return name.upper()


def _unknown(name: str, what: str, known: list[str], setting: str) -> GlmqError:
    nearest = get_close_matches(name.upper(), known, 1, 0.0)[0]
    return GlmqError(
        f"{what} {shown(name)} is not known; did you mean {nearest}? There are {', '.join(known)}",
        setting=setting,
    )
