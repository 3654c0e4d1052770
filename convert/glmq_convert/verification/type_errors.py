"""How far weights may be from those that they were made from, by tensor type.

An error is relative: the norm of the differences, by the norm of the weights. Each type's error of normally
distributed weights is known; weights with long tails have up to 1.6 times as much, and those with the
importance of columns 1.1 times. What is damaged, stands in another order or has a wrong scale is off by about
as much as the weights are large, or more.
"""

from __future__ import annotations

from dataclasses import dataclass

from glmq_kernels.formats.tensor_types import KERNEL_TYPES

NORMAL_ERRORS = {
    "Q8_0": 0.0054, "Q4_0": 0.086, "Q4_1": 0.078, "Q5_0": 0.043, "Q5_1": 0.038, "Q2_K": 0.297,
    "Q3_K": 0.156, "Q4_K": 0.077, "Q5_K": 0.038, "Q6_K": 0.019, "IQ4_NL": 0.080, "IQ4_XS": 0.080,
    "MXFP4": 0.115, "IQ3_S": 0.166, "IQ3_XXS": 0.217, "IQ2_S": 0.274, "IQ2_XS": 0.339, "IQ2_XXS": 0.383,
    "IQ1_M": 0.517, "IQ1_S": 0.542, "TQ1_0": 0.809, "TQ2_0": 0.809,
}  # fmt: skip
"""Relative errors of normally distributed weights, as llama.cpp quantizes them; the larger of those with and
without importance."""

FLOAT_ERRORS = {"F32": 1e-6, "BF16": 2.0**-8, "F16": 2.0**-11}
"""Of float types, the error of any weight at most; of F32 what another order of sums may make."""

OF_TENSOR, OF_ROW = 2.0, 6.0
"""How many times a type's error a tensor may have, and a single row of it."""

MOST_OF_TENSOR, MOST_OF_ROW = 0.95, 1.3
SMALLEST_OF_HALF = 2.0**-25
"""Scales are halves, whose own error is up to this; a code multiplies it by up to 127."""


@dataclass(frozen=True)
class ErrorBounds:
    """Relative errors that a tensor, and a row of it, may have; and how far off any weight may be anyway."""

    tensor: float
    row: float
    absolute: float


def error_bounds(type_name: str) -> ErrorBounds:
    """The bounds of a type. Raises KeyError for one that is not known."""
    if KERNEL_TYPES[type_name].is_float:
        error = FLOAT_ERRORS[type_name]
        return ErrorBounds(error, error, SMALLEST_OF_HALF if type_name == "F16" else 0.0)
    error = NORMAL_ERRORS[type_name]
    return ErrorBounds(
        min(OF_TENSOR * error, MOST_OF_TENSOR), min(OF_ROW * error, MOST_OF_ROW), 127 * SMALLEST_OF_HALF
    )
