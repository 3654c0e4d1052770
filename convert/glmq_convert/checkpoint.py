"""Safetensors checkpoints: one file or many, read by rows, never as a whole.

Format: https://github.com/huggingface/safetensors#format (uint64 length of a JSON header, the header,
the tensors' bytes). Read here rather than with the library because conversion wants byte ranges, many
threads and buffers of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from glmq_kernels.errors import GlmqError

from .json_fields import checked_text, errors_in, read_object, shown, table
from .mtp import MtpLayerError, layer_of
from .shards import FilesOnDisk, ShardStore

DTYPES: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype(np.uint16),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
}
"""Weights that can be read, and the arrays they are read as (bfloat16 as its bits)."""

CODE_DTYPES = ("F8_E4M3", "I8")
"""Weights of eight bits: codes whose values are multiplied by scales (`scaled_weights.py`)."""

ITEM_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Sizes of all types of whole bytes that the format has."""

MAX_HEADER = 100_000_000
INDEX_NAME = "model.safetensors.index.json"
MTP_FILES = "*mtp*.safetensors"
"""Names of files of the multi-token-prediction layer, which an index of the model need not tell of."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's bytes lie: `offset` is from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int

    @property
    def columns(self) -> int:
        """Length of a row: the last dimension."""
        return self.shape[-1] if self.shape else 1


class Checkpoint(Mapping[str, StoredTensor]):
    """The tensors of a checkpoint by name. Reading is safe from any number of threads."""

    def __init__(self, tensors: Mapping[str, StoredTensor], store: ShardStore) -> None:
        self._tensors, self._store = dict(tensors), store

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor, outermost first."""
        return self._tensors[name].shape

    def item_bytes(self, name: str) -> int:
        """Bytes of one weight. Raises GlmqError for a type that conversion does not read."""
        return self._dtype(name).itemsize

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """Rows of a tensor whose dimensions but the last are taken together, read into `buffer` (uint8).

        Gives (n_rows, columns) float32, float16, or uint16 holding the bits of bfloat16.
        """
        dtype = self._dtype(name)
        columns = self._tensors[name].columns
        read = self._read_items(name, first_row * columns, n_rows * columns, dtype.itemsize, buffer)
        return read.view(dtype).reshape(n_rows, columns)

    def read_codes(self, name: str, first_row: int, n_rows: int) -> np.ndarray:
        """Rows of a tensor of codes: uint8 (n_rows, columns)."""
        columns = self._tensors[name].columns
        codes = np.empty((n_rows, columns), np.uint8)
        self._read_items(name, first_row * columns, n_rows * columns, 1, codes.reshape(-1))
        return codes

    def read_floats(self, name: str) -> np.ndarray:
        """A whole tensor, a small one, as float32 (n,)."""
        tensor = self._tensors[name]
        n_rows = math.prod(tensor.shape[:-1])
        buffer = np.empty(n_rows * tensor.columns * self.item_bytes(name), np.uint8)
        found = self.read(name, 0, n_rows, buffer).reshape(-1)
        if found.dtype == np.uint16:
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found.astype(np.float32)

    def is_zero(self, name: str) -> bool:
        """Whether all bytes of a tensor, a small one, are 0."""
        tensor = self._tensors[name]
        n_items, item_bytes = math.prod(tensor.shape), ITEM_BYTES.get(tensor.dtype, 1)
        found = self._read_items(name, 0, n_items, item_bytes, np.empty(n_items * item_bytes, np.uint8))
        return not found.any()

    def _read_items(
        self, name: str, first: int, count: int, item_bytes: int, buffer: np.ndarray
    ) -> np.ndarray:
        """Bytes of consecutive numbers of a tensor, read into the beginning of `buffer` (uint8)."""
        tensor = self._tensors[name]
        target = buffer[: count * item_bytes]
        start, done = tensor.offset + first * item_bytes, 0
        while done < target.size:
            n_read = self._store.read(tensor.path, start + done, target.data[done:])
            if not n_read:
                raise GlmqError(f"{tensor.path} ended inside tensor {name}; download it again")
            done += n_read
        return target

    def _dtype(self, name: str) -> np.dtype[Any]:
        stored = self._tensors[name].dtype
        if stored not in DTYPES:
            raise GlmqError(
                f"tensor {name} is stored as {stored}; glmq converts {', '.join(DTYPES)} weights, and"
                f" {' and '.join(CODE_DTYPES)} ones with their scales (download the BF16 checkpoint)"
            )
        return DTYPES[stored]


def open_checkpoint(
    folder: Path, n_layers: int, mtp: bool = True, store: ShardStore | None = None
) -> Checkpoint:
    """The checkpoint in a folder. Raises GlmqError for files that are missing, cut short or damaged.

    n_layers: of the model itself. mtp: whether layers behind these are wanted; if not, files that by the
    index hold nothing else need not be there; if so, a file of them may lie beside the index's own. store:
    what reads tensors, where that is not the disk.
    """
    store = store or FilesOnDisk()
    tensors: dict[str, StoredTensor] = {}
    weight_map = _weight_map(folder)
    if not mtp:
        weight_map = {name: file for name, file in weight_map.items() if layer_of(name) < n_layers}
    _check_present(folder, weight_map, n_layers)
    beside = folder.glob(MTP_FILES) if mtp else ()
    named = {folder / name for name in weight_map.values()}
    paths = sorted({*named, *beside} if named else folder.glob("*.safetensors"))
    if not paths:
        others = " (its weights are in another format; save them as safetensors)" if _has_bin(folder) else ""
        raise GlmqError(f"{folder} holds no *.safetensors files{others}")
    for path in paths:
        for tensor in read_header(path, store.size(path)):
            if tensor.name in tensors:
                raise GlmqError(
                    f"tensor {tensor.name} is in both {tensors[tensor.name].path.name} and {path.name};"
                    f" remove the file that does not belong to the checkpoint"
                )
            tensors[tensor.name] = tensor
    for name, file_name in weight_map.items():
        if name not in tensors or tensors[name].path != folder / file_name:
            raise GlmqError(f"{INDEX_NAME} says that {file_name} holds tensor {name}, which it does not")
    return Checkpoint(tensors, store)


def _has_bin(folder: Path) -> bool:
    return any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))


def _weight_map(folder: Path) -> dict[str, str]:
    """Tensor name to file name, from the index; empty where there is no index."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return {}
    content = read_object(path)
    with errors_in(path):
        names = table(content, "weight_map")
        if not names:
            raise GlmqError("weight_map is missing or empty; download the file again")
        return {name: _file_name(file, f"the file of {name}") for name, file in names.items()}


def _file_name(value: Any, what: str) -> str:
    name = checked_text(value, what)
    if Path(name).name != name or not name.endswith(".safetensors") or "\0" in name:
        raise GlmqError(
            f"{what} is {shown(name)}; it must be the name of a safetensors file beside the index"
        )
    return name


def _check_present(folder: Path, weight_map: Mapping[str, str], n_layers: int) -> None:
    """Refuse where files that the index names are absent."""
    absent = sorted({file for file in weight_map.values() if not (folder / file).is_file()})
    if not absent:
        return
    more = f" and {len(absent) - 1} more files that {INDEX_NAME} names" if len(absent) > 1 else ""
    message = f"{folder / absent[0]}{more} missing; finish the download"
    if all(layer_of(name) >= n_layers for name, file in weight_map.items() if file in absent):
        raise MtpLayerError(message)
    raise GlmqError(message)


def read_header(path: Path, size: int) -> list[StoredTensor]:
    """The tensors of one safetensors file, checked against the file's size."""
    damaged = GlmqError(f"{path} is not a safetensors file or is damaged; download it again")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER, size - 8):
                raise damaged
            header = json.loads(file.read(length), object_pairs_hook=_object)
        header.pop("__metadata__", None)
        tensors = [_stored_tensor(path, name, entry, 8 + length) for name, entry in header.items()]
        extents = sorted(entry["data_offsets"] for entry in header.values())
        end = 8 + length + extents[-1][1] if extents else 0
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged from None
    if any(before[1] != after[0] for before, after in pairwise([[0, 0], *extents])):
        raise damaged  # the format leaves no room between tensors, and none lies in another
    if end > size:
        raise GlmqError(f"{path} is cut short ({size} of {end} bytes); download it again")
    if tensors and end < size:
        raise GlmqError(
            f"{path} goes on for {size - end} bytes behind its last tensor; if it was made of several files"
            " with cat, put these into the folder as they are, with their index"
        )
    return tensors


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which no key is there twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _stored_tensor(path: Path, name: str, entry: Mapping[str, Any], data_start: int) -> StoredTensor:
    first, last = entry["data_offsets"]
    shape = tuple(entry["shape"])
    dtype = entry["dtype"]
    if not all(type(n) is int and n >= 0 for n in (first, last, *shape)) or not isinstance(dtype, str):
        raise ValueError
    if first > last:
        raise ValueError
    if not name.isprintable() or not dtype.isprintable():  # they are shown in messages
        raise ValueError
    if dtype in ITEM_BYTES and last - first != math.prod(shape) * ITEM_BYTES[dtype]:
        raise ValueError
    return StoredTensor(name, dtype, shape, path, data_start + first)
