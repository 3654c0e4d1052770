"""Checkpoints with weights of eight bits (FP8, int8), which are multiplied by scales as they are read.

The scales of `X.weight` are the tensor `X.weight_scale` or `X.weight_scale_inv` (which is multiplied too,
whatever its name says), of a weight (out, in):

    ()  (1,)  (1, 1)                        one for all                      FP8 with static scales
    (out,)  (out, 1)                        one a row                        GLM-4.5-FP8, FP8-dynamic, int8
    (ceil(out / 128), ceil(in / 128))       one a block of 128 x 128         GLM-5.1-FP8, FP8_BLOCK
    (out, in / group)                       one a group of columns           int8 in groups

Stacked experts (n, out, in) have all this n times. Which weights are such is told by the tensors: what
config.json says of layers that are left alone need not be so.

Sources: compressed-tensors (https://github.com/vllm-project/compressed-tensors), and transformers'
finegrained_fp8.py.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.scaled_codes import decode_rows

from .checkpoint import CODE_DTYPES, DTYPES, Checkpoint, StoredTensor
from .mtp import MtpLayerError, layer_of
from .quantization import USUAL_BLOCK, Quantization

SCALE_ENDINGS = ("_scale", "_scale_inv")

OF_ACTIVATIONS = tuple(
    f".{what}_{kind}" for what in ("input", "output", "q", "k", "v") for kind in ("scale", "zero_point")
)  # fmt: skip
"""Endings of tensors that say how activations and the cache were quantized, which is of no concern here."""

ZERO_POINT = "_zero_point"

OTHER_ENDINGS = (
    ".weight_packed", ".weight_global_scale", ".qweight", ".qzeros", ".scales", ".g_idx", "_blocks",
    "_scales",
)  # fmt: skip
"""Of tensors that hold weights quantized in ways that are not read, or what belongs to them."""

SCALES_KEPT = 64
"""Tensors whose scales stay in memory: those that workers are at, and some more."""


@dataclass(frozen=True)
class Scales:
    """Of one weight: the tensor that holds them, and the rows and columns of a block that shares one.

    n_matrices: stacked on one another, the first blocks of each being its own.
    """

    name: str
    block: tuple[int, int]
    n_matrices: int


class ScaledWeights(Mapping[str, StoredTensor]):
    """The weights of a checkpoint, all as floats (`plan.Weights`); scales are not among its names."""

    def __init__(self, checkpoint: Checkpoint, scales: Mapping[str, Scales]) -> None:
        self._checkpoint, self._scales = checkpoint, scales
        aside = {each.name for each in scales.values()}
        self._names = dict.fromkeys(
            name
            for name in checkpoint
            if name not in aside and not name.endswith((*OF_ACTIVATIONS, ZERO_POINT))
        )
        self._values = functools.lru_cache(maxsize=SCALES_KEPT)(self._read_scales)

    def __getitem__(self, name: str) -> StoredTensor:
        if name not in self._names:
            raise KeyError(name)
        return self._checkpoint[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor, outermost first."""
        return self._checkpoint.shape(name)

    def item_bytes(self, name: str) -> int:
        """Bytes of one weight as `read` gives it. Raises GlmqError for a type that is not read."""
        return 4 if name in self._scales else self._checkpoint.item_bytes(name)

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """Rows of a tensor, as `plan.Weights` says: those with scales are float32."""
        if name not in self._scales:
            return self._checkpoint.read(name, first_row, n_rows, buffer)
        codes = self._checkpoint.read_codes(name, first_row, n_rows)
        out = buffer[: 4 * codes.size].view(np.float32).reshape(codes.shape)
        stored, block, values = self._checkpoint[name], self._scales[name].block, self._values(name)
        of_matrix = _matrix(stored)[1]
        last = first_row + n_rows
        for matrix in range(first_row // of_matrix, (last - 1) // of_matrix + 1):
            start = matrix * of_matrix
            here = slice(max(start, first_row) - first_row, min(start + of_matrix, last) - first_row)
            within = max(start, first_row) - start
            decode_rows(codes[here], stored.dtype, values[matrix], block, within, out[here])
        return out

    def _read_scales(self, name: str) -> np.ndarray:
        """float32 (matrices, rows of blocks, blocks in a row)."""
        scales, (_, rows, columns) = self._scales[name], _matrix(self._checkpoint[name])
        found = self._checkpoint.read_floats(scales.name)
        per_matrix = -(-rows // scales.block[0]), -(-columns // scales.block[1])
        return np.ascontiguousarray(
            np.broadcast_to(found.reshape(-1, *per_matrix), (scales.n_matrices, *per_matrix))
        )


def scaled_weights(
    checkpoint: Checkpoint, quantization: Quantization | None, n_layers: int, mtp: bool = True
) -> tuple[ScaledWeights, list[str]]:
    """The weights of a checkpoint with those of eight bits multiplied by their scales; and remarks.

    n_layers: of the model itself. mtp: whether layers behind these are wanted. Raises GlmqError, naming the
    tensor, for scales that are missing, left over or of a shape that does not fit, and for weights quantized
    in other ways.
    """
    method = quantization.method if quantization else "quantized"
    other = next((name for name in checkpoint if name.endswith(OTHER_ENDINGS)), None)
    if other:
        raise GlmqError(
            f"the weights are stored as {method} ({other}); download the BF16 or the FP8 checkpoint instead"
        )
    blocks = quantization.blocks if quantization else (USUAL_BLOCK,)
    wanted = [name for name in checkpoint if mtp or layer_of(name) < n_layers]
    scales = {
        name: _scales_of(checkpoint, name, blocks, n_layers)
        for name in wanted
        if checkpoint[name].dtype in CODE_DTYPES and not name.endswith(ZERO_POINT)
    }
    _check_all_used(checkpoint, wanted, scales, n_layers)
    remarks = []
    if quantization and not scales:
        remarks.append(
            f"config.json says that the weights are {method}, but they are not quantized: that is passed over"
        )
    return ScaledWeights(checkpoint, scales), remarks


def _matrix(tensor: StoredTensor) -> tuple[int, int, int]:
    """How many matrices a tensor is, and the rows and columns of each."""
    rows = tensor.shape[-2] if len(tensor.shape) > 1 else 1
    return math.prod(tensor.shape[:-2]), rows, tensor.columns


def _scales_of(
    checkpoint: Checkpoint, name: str, blocks: tuple[tuple[int, int], ...], n_layers: int
) -> Scales:
    stems = [name] if name.endswith(".weight") else [name, f"{name}.weight"]
    found = [stem + ending for stem in stems for ending in SCALE_ENDINGS if stem + ending in checkpoint]
    if len(found) != 1:
        what = f"two tensors of scales, {' and '.join(found[:2])}" if found else "no scale"
        raise _wrong(
            name,
            n_layers,
            f"tensor {name} is stored as {checkpoint[name].dtype} and has {what};"
            " download the checkpoint again",
        )
    if checkpoint[found[0]].dtype not in DTYPES:
        raise _wrong(
            name,
            n_layers,
            f"tensor {found[0]} is stored as {checkpoint[found[0]].dtype}; glmq reads scales that are"
            f" {', '.join(DTYPES)} (download the BF16 checkpoint)",
        )
    n_matrices, rows, columns = _matrix(checkpoint[name])
    lead, shape = checkpoint[name].shape[:-2], checkpoint[found[0]].shape
    if math.prod(shape) == 1 or shape in (lead, (*lead, 1), (*lead, 1, 1)):
        block = rows, columns
    elif shape in ((*lead, rows), (*lead, rows, 1)):
        block = 1, columns
    else:
        block = _block_by_shape(blocks, lead, rows, columns, shape) or (0, 0)
    if 0 in block:
        raise _wrong(
            name,
            n_layers,
            f"tensor {found[0]} has shape {shape}, which are no scales of {name} with shape"
            f" {checkpoint[name].shape}; download the checkpoint again",
        )
    return Scales(found[0], block, n_matrices)


def _block_by_shape(
    blocks: tuple[tuple[int, int], ...],
    lead: tuple[int, ...],
    rows: int,
    columns: int,
    shape: tuple[int, ...],
) -> tuple[int, int] | None:
    """The block for which a matrix would have so many scales."""
    for block in blocks:
        if shape == (*lead, -(-rows // block[0]), -(-columns // block[1])):
            return block
    *before, last = shape
    if (*before,) == (*lead, rows) and last and columns % last == 0:
        return 1, columns // last
    return None


def _check_all_used(
    checkpoint: Checkpoint, names: list[str], scales: Mapping[str, Scales], n_layers: int
) -> None:
    """Refuse scales of nothing, and zero points that are not 0, among tensors of these names."""
    used = {each.name for each in scales.values()}
    for name in names:
        if name.endswith(OF_ACTIVATIONS):
            continue
        if name.endswith(SCALE_ENDINGS) and name not in used:
            raise _wrong(
                name,
                n_layers,
                f"the checkpoint holds the scales {name}, and no weight of 8 bits that they belong to;"
                " download the checkpoint again",
            )
        if name.endswith(ZERO_POINT) and not checkpoint.is_zero(name):
            raise _wrong(
                name,
                n_layers,
                f"tensor {name} holds zero points that are not 0: glmq converts weights that are quantized"
                " symmetrically (download the BF16 checkpoint)",
            )


def _wrong(name: str, n_layers: int, message: str) -> GlmqError:
    """An error about a tensor, which knows whether the model converts without it."""
    return MtpLayerError(message) if layer_of(name) >= n_layers else GlmqError(message)
