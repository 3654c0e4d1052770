"""Whether a GGUF file holds what it was made from.

    checking          the whole: names, shapes, metadata, and the values of all tensors
    type_errors       how large the error of each tensor type may be
    value_errors      how far the values of tensors are from those of a source
    metadata_values   metadata as plain values, and where two differ
"""

from __future__ import annotations

from .checking import TensorCheck, Verification, verify
from .metadata_values import metadata_differences, plain_metadata
from .value_errors import RowErrors, TensorError, tensor_errors

__all__ = [
    "RowErrors",
    "TensorCheck",
    "TensorError",
    "Verification",
    "metadata_differences",
    "plain_metadata",
    "tensor_errors",
    "verify",
]
