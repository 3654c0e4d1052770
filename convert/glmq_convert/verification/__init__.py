"""Whether a GGUF file holds what it was made from.

    checking                a file against its source: names, shapes, metadata, values of all tensors
    model_differences       where two GGUF files differ
    type_errors             how large the error of each tensor type may be
    value_errors            how far the values of tensors are from those of a source
    metadata_differences    metadata as plain values, and where two differ

Both read all weights once, by rows, and keep none.
"""

from __future__ import annotations

from .checking import TensorCheck, Verification, verify
from .metadata_differences import MetadataDifference
from .model_differences import ModelDifferences, StoredTensor, TensorDifference, model_differences

__all__ = [
    "MetadataDifference",
    "ModelDifferences",
    "StoredTensor",
    "TensorCheck",
    "TensorDifference",
    "Verification",
    "model_differences",
    "verify",
]
