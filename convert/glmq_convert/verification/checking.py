"""Whether a GGUF file holds what a checkpoint, or another GGUF file, has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..gguf_source import GGUFModel, GGUFWeights
from ..model_source import ModelSource
from ..plan import PlannedTensor
from .metadata_differences import (
    metadata_differences,
    plain_metadata,
    planned_metadata,
    says_how_it_is_written,
)
from .type_errors import ErrorBounds, error_bounds
from .value_errors import Progress, TensorError, tensor_errors

GENERAL = "general."
"""Beginning of keys that describe a model and change nothing of what it computes."""


@dataclass(frozen=True)
class TensorCheck:
    """A tensor's type, its error and what that may be."""

    name: str
    type: str
    error: TensorError
    bounds: ErrorBounds

    @property
    def problem(self) -> str | None:
        """What is wrong with its values, None where nothing is."""
        error, bounds = self.error, self.bounds
        if error.n_spoilt:
            return f"{self.name} holds {error.n_spoilt} values that are not finite"
        if error.relative > bounds.tensor:
            return (
                f"{self.name} ({self.type}) is off by {error.relative:.3g} of its size, and may be by"
                f" {bounds.tensor:.3g}"
            )
        if error.worst > bounds.row:
            return (
                f"{self.name} ({self.type}): row {error.worst_row} is off by {error.worst:.3g} of its size,"
                f" and may be by {bounds.row:.3g}"
            )
        return None


@dataclass(frozen=True)
class Verification:
    """What came of checking a file.

    tensors: those whose values were compared. problems: what is wrong, a sentence each; the file is sound
    where there are none. notes: what differs and may.
    """

    tensors: Sequence[TensorCheck]
    problems: Sequence[str]
    notes: Sequence[str]


def verify(
    model: GGUFModel, source: ModelSource, *, threads: int | None = None, progress: Progress | None = None
) -> Verification:
    """Compare an open GGUF file with what it was made from.

    Names and shapes of tensors must be the same, metadata and tokenizer too (what describes the model, such
    as its name, may differ), and each tensor's values within the error of its type. All weights are read
    once, by rows, on all cores (`threads`). progress(weights done, weights in all).
    Raises GlmqError when one of the two cannot be read.
    """
    problems, notes = _metadata(model, source)
    comparable, of_shapes = _shapes(model, source)
    problems += of_shapes
    bounds = {tensor.name: error_bounds(model.tensors[tensor.name].type) for tensor in comparable}
    errors = tensor_errors(
        comparable, source.weights([]), GGUFWeights(model, []), lambda tensor: bounds[tensor.name].absolute,
        threads=threads, progress=progress,
    )  # fmt: skip
    checks = [
        TensorCheck(name, model.tensors[name].type, error, bounds[name]) for name, error in errors.items()
    ]
    notes += [
        f"{check.name}: {check.error.n_not_finite} weights of the source are not finite, and count as 0"
        for check in checks
        if check.error.n_not_finite
    ]
    problems += [check.problem for check in checks if check.problem]
    return Verification(checks, problems, notes)


def _metadata(model: GGUFModel, source: ModelSource) -> tuple[list[str], list[str]]:
    """What is wrong with the metadata, and what only differs."""
    problems, notes = [], []
    expected, found = planned_metadata(source.header), plain_metadata(model)
    for each in metadata_differences(expected, found):
        if says_how_it_is_written(each.key):
            continue
        if each.one is None:
            notes.append(f"{each.key} is {each.other}, which the source does not say")
        elif each.key.startswith(GENERAL) and each.key != "general.architecture":
            notes.append(f"{each.key} is {each.other or 'missing'}, and {each.one} by the source")
        else:
            problems.append(f"{each.key} is {each.other or 'missing'}, and {each.one} by the source")
    return problems, notes


def _shapes(model: GGUFModel, source: ModelSource) -> tuple[list[PlannedTensor], list[str]]:
    """The tensors that can be compared, and what is wrong with the others."""
    problems, comparable = [], []
    for tensor in source.tensors:
        found = model.tensors.get(tensor.name)
        if found is None:
            problems.append(f"tensor {tensor.name} is missing")
        elif (found.shape or (1,)) != tensor.shape:
            problems.append(f"tensor {tensor.name} has shape {found.shape}, and {tensor.shape} by the source")
        else:
            comparable.append(tensor)
    known = {tensor.name for tensor in source.tensors}
    problems += [f"tensor {name} is not in the source" for name in model.tensors if name not in known]
    return comparable, problems
