"""What config.json says of how a checkpoint's weights are quantized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glmq_kernels.errors import GlmqError

from .json_fields import errors_in, items, read_object, shown, table, text

USUAL_BLOCK = (128, 128)


@dataclass(frozen=True)
class Quantization:
    """method: the name of the way. blocks: rows and columns that may share a scale, the likeliest first."""

    method: str
    blocks: tuple[tuple[int, int], ...] = (USUAL_BLOCK,)


def read_quantization(folder: Path) -> Quantization | None:
    """What the config.json in `folder` says of quantization, or None. It may be left over and not true."""
    path = folder / "config.json"
    with errors_in(path):
        said = table(read_object(path), "quantization_config")
        if not said:
            return None
        blocks = dict.fromkeys([*_blocks(said), USUAL_BLOCK])
        return Quantization(text(said, "quant_method") or "quantized", tuple(blocks))


def _blocks(said: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Of transformers' `weight_block_size`, and of the groups of compressed-tensors."""
    yield from _block(said, "weight_block_size")
    groups = table(said, "config_groups")
    for name in groups:
        yield from _block(table(table(groups, name), "weights"), "block_structure")


def _block(content: Mapping[str, Any], key: str) -> Iterator[tuple[int, int]]:
    sizes = items(content, key)
    if not sizes:
        return
    if len(sizes) != 2 or not all(type(n) is int and 0 < n < 2**31 for n in sizes):
        raise GlmqError(f"{key} is {shown(sizes)}; it must be two whole numbers, of rows and of columns")
    yield sizes[0], sizes[1]
