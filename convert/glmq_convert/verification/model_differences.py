"""Where two GGUF files differ: metadata, tensors, and their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..gguf_source import GGUFModel, GGUFWeights, plan_copies
from .metadata_differences import MetadataDifference, metadata_differences, plain_metadata
from .value_errors import Progress, tensor_errors


@dataclass(frozen=True)
class StoredTensor:
    """How a file has a tensor."""

    type: str
    shape: tuple[int, ...]
    n_bytes: int


@dataclass(frozen=True)
class TensorDifference:
    """A tensor that two files have differently; None where one of them has none.

    error: the norm of the differences of its values, by that of the first file's; None where they were not
    compared.
    """

    name: str
    one: StoredTensor | None
    other: StoredTensor | None
    error: float | None = None


@dataclass(frozen=True)
class ModelDifferences:
    """Where two files differ. n_same: tensors that do not."""

    metadata: Sequence[MetadataDifference]
    tensors: Sequence[TensorDifference]
    n_same: int


def model_differences(
    one: GGUFModel,
    other: GGUFModel,
    *,
    values: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ModelDifferences:
    """Compare two open GGUF files.

    values: read all weights too, of tensors with the same shape, on all cores (`threads`). progress(weights
    done, weights in all). Raises GlmqError for types that cannot be read.
    """
    stored = [_stored(model) for model in (one, other)]
    errors = _errors(one, other, stored, threads, progress) if values else {}
    differences = []
    for name in dict.fromkeys([*stored[0], *stored[1]]):
        pair = stored[0].get(name), stored[1].get(name)
        if pair[0] != pair[1] or errors.get(name):
            differences.append(TensorDifference(name, *pair, errors.get(name)))
    n_same = len(stored[0].keys() | stored[1].keys()) - len(differences)
    metadata = metadata_differences(plain_metadata(one), plain_metadata(other))
    return ModelDifferences(metadata, differences, n_same)


def _stored(model: GGUFModel) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor(tensor.type, tuple(tensor.shape), model.data(name).nbytes)
        for name, tensor in model.tensors.items()
    }


def _errors(
    one: GGUFModel,
    other: GGUFModel,
    stored: Sequence[dict[str, StoredTensor]],
    threads: int | None,
    progress: Progress | None,
) -> dict[str, float]:
    """The error of each tensor that both files have in one shape."""
    both = [
        tensor
        for tensor in plan_copies(one)
        if tensor.name in stored[1] and stored[0][tensor.name].shape == stored[1][tensor.name].shape
    ]
    found = tensor_errors(
        both, GGUFWeights(one, []), GGUFWeights(other, []), lambda tensor: 0.0,
        threads=threads, progress=progress,
    )  # fmt: skip
    return {
        name: math.inf if error.n_spoilt != error.n_not_finite else error.relative
        for name, error in found.items()
    }
