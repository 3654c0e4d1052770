"""The header of one GGUF file: version, metadata and the list of tensors.

    magic "GGUF" | version u32 | tensor count u64 | metadata count u64
    metadata:  key string | value type u32 | value            (string: length u64, bytes)
    tensors:   name string | dimensions u32 | sizes u64 each, fastest first | type u32 | offset u64
    padding to the alignment | tensor data

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Nothing in the file is believed: every
count is checked against the bytes that are left, and against a bound that no real file comes near, before
it is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from glmq_kernels.strings.string_offsets import string_offsets

from . import fields
from .errors import GGUFError
from .header_reader import HeaderGoesOn, HeaderReader
from .not_gguf import what_it_is, what_joined_is
from .string_array import StringArray
from .tensors import TensorInfo, check_layout, read_tensor

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32

MOST_TENSORS = 1 << 20
MOST_KEYS = 1 << 16
LONGEST_TEXT = 1 << 26
LARGEST_ALIGNMENT = 1 << 20

SMALLEST_KEY = 8 + 4 + 1  # name length, value type, value
SMALLEST_TENSOR = 8 + 4 + 4 + 8  # name length, number of dimensions, type, offset

BOOL, STRING, ARRAY = 7, 8, 9
# Value type -> name and layout, as both struct and numpy understand it.
NUMBERS = {
    0: ("uint8", "<B"),
    1: ("int8", "<b"),
    2: ("uint16", "<H"),
    3: ("int16", "<h"),
    4: ("uint32", "<I"),
    5: ("int32", "<i"),
    6: ("float32", "<f"),
    BOOL: ("bool", "<B"),
    10: ("uint64", "<Q"),
    11: ("int64", "<q"),
    12: ("float64", "<d"),
}


@dataclass(frozen=True)
class Header:
    """What one file says of itself. `value_types` holds GGUF's name of each metadata value's type."""

    version: int
    metadata: dict[str, Any]
    value_types: dict[str, str]
    tensors: dict[str, TensorInfo]


def read_header(data: np.ndarray, path: Path, file_index: int = 0, file_bytes: int | None = None) -> Header:
    """Read the header at the start of `data`, uint8 (n,): the file `path`, or its beginning.

    file_bytes: of the whole file, where `data` is its beginning; HeaderGoesOn is raised where the header is
    longer. Tensor offsets become positions in the file. Raises GGUFError for everything that is not a sound,
    little-endian GGUF file of version 2 or 3.
    """
    reader = HeaderReader(data, path, file_bytes)
    start = bytes(data[:512])
    if not start.startswith(MAGIC):
        raise GGUFError(f"{path}: {what_it_is(start)}")
    reader.take(len(MAGIC), "the header")
    version = _version(reader)
    n_tensors, n_keys = reader.unpack("<QQ", "the header")
    if n_keys > min(MOST_KEYS, reader.left // SMALLEST_KEY):
        raise reader.damaged(f"it claims {n_keys} metadata keys")
    metadata, value_types = _read_metadata(reader, n_keys)
    if n_tensors > min(MOST_TENSORS, reader.left // SMALLEST_TENSOR):
        raise reader.damaged(f"it claims {n_tensors} tensors")
    alignment = _alignment(reader, metadata)
    infos = [read_tensor(reader, i, file_index) for i in range(n_tensors)]
    data_start = -(-reader.position // alignment) * alignment
    tensors = check_layout(reader, infos, data_start, alignment)
    end = max((info.offset + info.n_bytes for info in tensors.values()), default=reader.position)
    _check_end(reader, end, alignment)
    return Header(version, metadata, value_types, tensors)


def _check_end(reader: HeaderReader, end: int, alignment: int) -> None:
    """Refuse a file in which another GGUF file follows the first."""
    padded = -(-end // alignment) * alignment
    if any(bytes(reader.data[at : at + len(MAGIC)]) == MAGIC for at in (end, padded)):
        raise GGUFError(f"{reader.path}: {what_joined_is(reader.path)}")


def _version(reader: HeaderReader) -> int:
    (version,) = reader.unpack("<I", "the header")
    if version in (2, 3):
        return int(version)
    if version == 1:
        raise GGUFError(
            f"{reader.path}: GGUF version 1, which is no longer in use; download a newer file of this model"
        )
    if version and version & 0xFFFF == 0:
        raise GGUFError(
            f"{reader.path}: a big-endian GGUF file, made for another kind of machine;"
            " download the little-endian one or convert it with gguf-convert-endian"
        )
    raise GGUFError(
        f"{reader.path}: GGUF version {version} is not known here (2 and 3 are); the file is damaged,"
        " or glmq must be updated"
    )


def _alignment(reader: HeaderReader, metadata: dict[str, Any]) -> int:
    alignment = fields.integer(metadata, reader.path, "general.alignment", DEFAULT_ALIGNMENT)
    if not 8 <= alignment <= LARGEST_ALIGNMENT or alignment & (alignment - 1):
        raise reader.damaged(f"general.alignment is {alignment}, not a power of two from 8 to 1048576")
    return alignment


def _read_metadata(reader: HeaderReader, count: int) -> tuple[dict[str, Any], dict[str, str]]:
    metadata: dict[str, Any] = {}
    value_types: dict[str, str] = {}
    for i in range(count):
        key = reader.name(f"metadata key {i}")
        if key in metadata:
            raise reader.damaged(f"the metadata key {key!r} is there twice")
        (value_type,) = reader.unpack("<I", f"metadata key {key!r}")
        metadata[key], value_types[key] = _read_value(reader, value_type, key)
    return metadata, value_types


def _read_value(reader: HeaderReader, value_type: int, key: str) -> tuple[Any, str]:
    """A metadata value and GGUF's name of its type."""
    what = f"the value of {key!r}"
    if value_type == STRING:
        return reader.string(what, LONGEST_TEXT).decode("utf-8", "replace"), "string"
    if value_type == ARRAY:
        return _read_array(reader, what)
    if value_type not in NUMBERS:
        raise reader.damaged(f"{what} has the unknown type {value_type}")
    type_name, layout = NUMBERS[value_type]
    (value,) = reader.unpack(layout, what)
    return (bool(value) if value_type == BOOL else value), type_name


def _read_array(reader: HeaderReader, what: str) -> tuple[np.ndarray | StringArray, str]:
    element_type, count = reader.unpack("<IQ", what)
    if element_type == ARRAY:
        raise GGUFError(f"{reader.path}: {what} is an array of arrays, which no known model needs")
    if element_type != STRING and element_type not in NUMBERS:
        raise reader.damaged(f"{what} has elements of the unknown type {element_type}")
    if count > reader.elements_left:
        raise reader.damaged(f"{what} claims {count} elements")
    reader.elements_left -= count
    if element_type == STRING:
        return _read_strings(reader, count, what), "array of string"
    type_name, layout = NUMBERS[element_type]
    # A copy: aligned, and small because the count is bounded.
    numbers = np.frombuffer(reader.take(count * struct.calcsize(layout), what), np.dtype(layout)).copy()
    if element_type == BOOL:
        numbers = numbers != 0
    numbers.flags.writeable = False
    return numbers, f"array of {type_name}"


def _read_strings(reader: HeaderReader, count: int, what: str) -> StringArray:
    if count > reader.left // 8:
        raise reader.damaged(f"{what} claims {count} strings")
    try:
        offsets = string_offsets(reader.data, reader.position, count)
    except ValueError as error:
        if reader.is_beginning:
            raise HeaderGoesOn from error
        raise reader.damaged(f"{what} runs past the end of the file") from error
    start, reader.position = reader.position, int(offsets[-1])
    # A copy: small, and there whatever becomes of the file.
    return StringArray(reader.data[start : reader.position].copy(), offsets - start)
