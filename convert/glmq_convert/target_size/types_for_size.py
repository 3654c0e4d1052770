"""The types of a model's tensors under a budget of bytes, by what their rounding costs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

from ..mixes import TypeChoice, choose_types
from ..mixes.mix_names import CLASSIC
from ..mixes.tensor_kinds import LATENT, kind_of, stays_f32
from ..plan import PlannedTensor, Weights
from .choosing import cheapest_types
from .sampled_errors import candidate_types, sampled_errors
from .sensitivity import sensitivities
from .target_size import TargetSize


def types_for_size(
    tensors: Sequence[PlannedTensor],
    weights: Weights,
    target: TargetSize,
    given: TypeChoice,
    overhead: int = 0,
    threads: int | None = None,
) -> TypeChoice:
    """A choice of types by full names, such that the model's predictions change least within the size.

    tensors: all of the file, F32, with their importance where it is known. weights: gives their rows as
    floats. given: what the user says of some tensors, which holds. overhead: bytes of the file beside the
    tensors. Raises GlmqError when the smallest types take more.
    """
    has_importance = any(tensor.importance is not None for tensor in tensors)
    settled = _settled(tensors, given, has_importance)
    free = [tensor for tensor in tensors if tensor.name not in settled]
    n_bytes = {tensor.name: _sizes(tensor) for tensor in free}
    taken = sum(tensor.n_bytes for tensor in settled.values())
    budget = target.budget(tensors, overhead) - taken
    least = sum(min(sizes.values()) for sizes in n_bytes.values())
    if least > budget:
        raise _too_small(target, tensors, taken + least, overhead, has_importance)
    errors = sampled_errors(free, weights, threads, progress=target.progress)
    tied = not any(kind_of(tensor.name) == "output" for tensor in tensors)
    known = sensitivities(list(errors), target.sensitivities, tied=tied)
    costs = {
        name: {type_name: known[name] * error for type_name, error in of_types.items()}
        for name, of_types in errors.items()
    }
    chosen = cheapest_types(costs, n_bytes, budget) or {}
    return replace(
        given,
        name=_nearest_mix(chosen, n_bytes),
        overrides=(*given.overrides, *((f"^{re.escape(name)}$", each) for name, each in chosen.items())),
        pure=False,
    )


def _settled(
    tensors: Sequence[PlannedTensor], given: TypeChoice, has_importance: bool
) -> dict[str, PlannedTensor]:
    """Tensors whose type does not depend on the size, with their types."""
    by_mix = choose_types(tensors, replace(given, name="Q8_0", pure=False), has_importance)
    named = [expression for expression, _ in given.overrides]
    if given.token_embedding:
        named.append(r"^token_embd\.weight$")
    if given.output:
        named.append(r"^output\.weight$")
    return {
        tensor.name: tensor
        for tensor in by_mix
        if stays_f32(tensor)
        or ".nextn." in tensor.name
        or kind_of(tensor.name) in LATENT
        or not candidate_types(tensor.columns, has_importance=False)
        or any(re.search(expression, tensor.name) for expression in named)
    }


def _sizes(tensor: PlannedTensor) -> Mapping[str, int]:
    """Bytes of a tensor by the types that it may have."""
    n_rows = math.prod(tensor.shape[:-1])
    return {
        name: n_rows * KERNEL_TYPES[name].row_bytes(tensor.columns)
        for name in candidate_types(tensor.columns, tensor.importance is not None)
    }


def _nearest_mix(chosen: Mapping[str, str], n_bytes: Mapping[str, Mapping[str, int]]) -> str:
    """The mix whose base type most bytes have, for the file's `general.file_type`."""
    of_types: Counter[str] = Counter()
    for name, type_name in chosen.items():
        of_types[type_name] += n_bytes[name][type_name]
    if not of_types:
        return "Q8_0"
    most, _ = of_types.most_common(1)[0]
    return next(name for name, mix in CLASSIC.items() if mix.base == most)


def _too_small(
    target: TargetSize, tensors: Sequence[PlannedTensor], least: int, overhead: int, has_importance: bool
) -> GlmqError:
    more = "" if has_importance else ", or an importance matrix, with which there are smaller types"
    if target.bits_per_weight is not None:
        bits = 8 * least / sum(math.prod(tensor.shape) for tensor in tensors) + 0.005  # rounded up
        told = f"{target.bits_per_weight:g} bits per weight are too few; the least is {bits:.2f}"
        return GlmqError(f"{told}; give so many{more}", setting="target_bpw")
    assert target.n_bytes is not None
    least += overhead
    unit, name = (1e9, "GB") if least >= 1e8 else (1e6, "MB")
    rounded_up = math.ceil(least / unit * 1000) / 1000
    told = f"{target.n_bytes / unit:.3f} {name} are too few; the least is {rounded_up:.3f} {name}"
    return GlmqError(f"{told}; give so much{more}", setting="target_size")
