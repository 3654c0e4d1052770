"""`glmq inspect --diff`: where two GGUF files differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal import counted, neutral

if TYPE_CHECKING:
    from glmq_convert.verification import ModelDifferences, StoredTensor

    from .options import Status


def show_differences(one: Path, other: Path, values: bool, as_json: bool, status: Status) -> None:
    """Print what `one` has and `other` has not (-), or otherwise (+); for values how far apart they are."""
    from glmq_convert.verification import model_differences

    from ..gguf import open_gguf

    with open_gguf(one) as first, open_gguf(other) as second:
        found = model_differences(
            first, second, values=values,
            progress=lambda done, total: status.show("comparing weights", done / total if total else 1),
        )  # fmt: skip
        sizes = first.n_bytes, second.n_bytes
    status.clear()
    if as_json:
        import json

        click.echo(json.dumps(_as_json(found, sizes), allow_nan=False))
        return
    for line in _lines(found):
        click.echo(neutral(line))
    same = f"{counted(found.n_same, 'tensor')} the same"
    if not values:
        same += " in type and shape"
    click.echo(f"{same}; {sizes[0] / 1e6:,.1f} MB and {sizes[1] / 1e6:,.1f} MB of weights")


def _lines(found: ModelDifferences) -> Iterator[str]:
    for each in found.metadata:
        if each.one is not None:
            yield f"- {each.key} = {each.one}"
        if each.other is not None:
            yield f"+ {each.key} = {each.other}"
    for tensor in found.tensors:
        if tensor.one == tensor.other:
            yield f"! {tensor.name}{_error(tensor.error)}"
            continue
        if tensor.one is not None:
            yield f"- {tensor.name}  {_stored(tensor.one)}"
        if tensor.other is not None:
            yield f"+ {tensor.name}  {_stored(tensor.other)}{_error(tensor.error)}"


def _stored(tensor: StoredTensor) -> str:
    return f"{tensor.type}  {' x '.join(map(str, tensor.shape))}  {tensor.n_bytes / 1e6:,.2f} MB"


def _error(error: float | None) -> str:
    """How far values are apart, where they were compared."""
    if error is None:
        return ""
    return (
        "  values that are not finite"
        if math.isinf(error)
        else f"  values differ by {error:.2e} of their size"
    )


def _as_json(found: ModelDifferences, sizes: tuple[int, int]) -> dict[str, Any]:
    def stored(tensor: StoredTensor | None) -> dict[str, Any] | None:
        return None if tensor is None else asdict(tensor)

    return {
        "metadata": [{"key": each.key, "one": each.one, "other": each.other} for each in found.metadata],
        "tensors": [
            {
                "name": each.name,
                "one": stored(each.one),
                "other": stored(each.other),
                "error": None if each.error is None or math.isinf(each.error) else each.error,
            }
            for each in found.tensors
        ],
        "n_same": found.n_same,
        "n_bytes": sizes,
    }
