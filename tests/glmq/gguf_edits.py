"""GGUF files taken apart, changed and put together again."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from glmq_kernels.formats.tensor_types import TENSOR_TYPES

from glmq.gguf import open_gguf
from glmq.gguf.header import ARRAY, BOOL, NUMBERS, STRING

from .gguf_files import gguf_bytes, key, string, tensor

NUMBER_OF_TYPE = {name: number for number, (name, _) in NUMBERS.items()}
ALIGNMENT = 32


@dataclass
class GGUFParts:
    """What a file holds. Values are (number of the type, bytes); tensors (type number, shape, bytes)."""

    keys: dict[str, tuple[int, bytes]]
    tensors: dict[str, tuple[int, tuple[int, ...], np.ndarray]]

    def copy(self) -> GGUFParts:
        """The same, to be changed."""
        return GGUFParts(dict(self.keys), dict(self.tensors))

    def set_number(self, name: str, type_name: str, value: Any) -> None:
        """Give a key a number of a type, such as "uint32"."""
        number = NUMBER_OF_TYPE[type_name]
        with np.errstate(over="ignore"):
            self.keys[name] = number, np.array(value).astype(NUMBERS[number][1]).tobytes()

    def floats(self, name: str) -> np.ndarray:
        """A copy of an F32 tensor's values, for `set_floats`."""
        type_number, shape, data = self.tensors[name]
        assert type_number == 0, name
        return data.view(np.float32).reshape(shape).copy()

    def set_floats(self, name: str, values: np.ndarray) -> None:
        """Give an F32 tensor other values."""
        self.tensors[name] = 0, self.tensors[name][1], np.ascontiguousarray(values, np.float32).view(np.uint8)

    def to_bytes(self) -> bytes:
        """The file."""
        entries, pieces, offset = [], [], 0
        for name, (type_number, shape, data) in self.tensors.items():
            entries.append(tensor(name, shape[::-1], type_number, offset))
            piece = data.tobytes()
            piece += bytes(-len(piece) % ALIGNMENT)
            pieces.append(piece)
            offset += len(piece)
        keys = [key(name, kind, value) for name, (kind, value) in self.keys.items()]
        return gguf_bytes(keys, entries, b"".join(pieces))


def read_parts(path: Path) -> GGUFParts:
    """Take a sound file apart."""
    with open_gguf(path) as file:
        keys = {name: _packed(value, file.value_types[name]) for name, value in file.metadata.items()}
        tensors = {
            name: (TENSOR_TYPES[info.type].number, info.shape, file.data(name).copy())
            for name, info in file.tensors.items()
        }
    return GGUFParts(keys, tensors)


def _packed(value: Any, type_name: str) -> tuple[int, bytes]:
    if type_name == "string":
        return STRING, string(value)
    if not type_name.startswith("array of "):
        number = NUMBER_OF_TYPE[type_name]
        return number, struct.pack(NUMBERS[number][1], value)
    element = type_name.removeprefix("array of ")
    if element == "string":
        texts = b"".join(string(value.bytes_at(i)) for i in range(len(value)))
        return ARRAY, struct.pack("<IQ", STRING, len(value)) + texts
    number = NUMBER_OF_TYPE[element]
    assert number != BOOL
    return ARRAY, struct.pack("<IQ", number, len(value)) + value.astype(NUMBERS[number][1]).tobytes()
