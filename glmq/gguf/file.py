"""GGUF files: mapped read-only or read into memory, all parts of a split model as one."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

from ..optional_packages import optional_packages
from . import fields, not_gguf
from .errors import GGUFError
from .header import Header, read_header
from .mapped_file import FileBytes, MappedFile
from .splits import check_parts, part_paths
from .tensors import TensorInfo

SAMPLE = 1024
"""Bytes of each tensor that a fingerprint is made of."""


class GGUFFile:
    """A GGUF model, open for reading.

    path: the file that was asked for. paths: all files of the model, in order. version: of the format.
    metadata: Python scalars, str, numpy arrays for arrays of numbers, `StringArray` for arrays of strings.
    value_types: GGUF's name of each metadata value's type ("uint32", "array of string").
    tensors: by name, in the order of the files. n_bytes: of all tensors. identity: a string that changes
    when a file does (paths, sizes and times of change), for the keys of caches.
    """

    def __init__(
        self, path: Path, paths: Sequence[Path], headers: Sequence[Header], mappings: Sequence[FileBytes]
    ) -> None:
        self.path = path
        self.paths = tuple(paths)
        self.identity = "\n".join(mapping.identity for mapping in mappings)
        self.version = headers[0].version
        self.metadata: Mapping[str, Any] = MappingProxyType(headers[0].metadata)
        self.value_types: Mapping[str, str] = MappingProxyType(headers[0].value_types)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(
            {name: info for header in headers for name, info in header.tensors.items()}
        )
        self.n_bytes = sum(info.n_bytes for info in self.tensors.values())
        self._mapped = list(mappings)
        self._bytes = [mapping.data for mapping in mappings]

    @property
    def in_memory(self) -> bool:
        """Whether the files were read into the process's own memory (`hold`) and so are needed no more."""
        return not self._mapped

    @property
    def sizes(self) -> list[int]:
        """Bytes of each file."""
        return [len(each) for each in self._bytes]

    def hold(self, contents: Sequence[np.ndarray]) -> None:
        """Use these bytes of each file, uint8 (n,), from now on, and not the files.

        Raises GGUFError when a file has changed since it was opened.
        """
        self.check_unchanged()
        for mapped in self._mapped:
            mapped.close()
        self._mapped, self._bytes = [], list(contents)

    def with_weights(self, weights: Mapping[str, tuple[str, np.ndarray]]) -> GGUFFile:
        """The same model with other weights in some tensors, while this one is open.

        weights: by tensors' names, the type and the bytes, uint8 (n,). To close what it gives leaves this one
        open.
        """
        other = copy(self)
        other.tensors = MappingProxyType(
            dict(self.tensors)
            | {
                name: replace(
                    self.tensor(name), type=type_name, offset=0, n_bytes=len(data), file_index=first
                )
                for first, (name, (type_name, data)) in enumerate(weights.items(), len(self._bytes))
            }
        )
        other.n_bytes = sum(info.n_bytes for info in other.tensors.values())
        other._mapped = []
        other._bytes = [*self._bytes, *(data for _, data in weights.values())]
        return other

    def check_unchanged(self) -> None:
        """Raise GGUFError when a file that is mapped is not what it was when it was opened."""
        for mapped in self._mapped:
            mapped.check_unchanged()

    def tensor(self, name: str) -> TensorInfo:
        """What a tensor is and where it lies. Raises GGUFError when the model has no such tensor."""
        info = self.tensors.get(name)
        if info is None:
            raise GGUFError(f"{self.path}: the tensor {name} is missing; the file is not a complete model")
        return info

    def data(self, name: str) -> np.ndarray:
        """The bytes of a tensor where they lie in the mapping, or in memory: uint8 (n_bytes,), read-only.

        Raises GGUFError when the model has no such tensor or its file has changed, ValueError when it is
        closed.
        """
        info = self.tensor(name)
        if not self._bytes:
            raise ValueError(f"{self.path} is closed")
        if self._mapped:
            self._mapped[info.file_index].check_unchanged()
        return self._bytes[info.file_index][info.offset : info.offset + info.n_bytes]

    def first_bytes(self, limit: int) -> np.ndarray:
        """Up to `limit` bytes of the (first) file where they lie: uint8, read-only."""
        self.check_unchanged()
        return self._bytes[0][:limit]

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that tell this model's content from others', whatever its files are called.

        Made of the headers and of `SAMPLE` bytes in the middle of each tensor, so that it costs little.
        Raises ValueError when the file is closed, GGUFError when it has changed.
        """
        with optional_packages():
            import xxhash

        self.check_unchanged()

        digest = xxhash.xxh3_128()
        for i, mapping in enumerate(self._bytes):
            starts = [info.offset for info in self.tensors.values() if info.file_index == i]
            digest.update(mapping[: min(starts, default=len(mapping))].data)
        for name, info in self.tensors.items():
            middle = max(0, (info.n_bytes - SAMPLE) // 2)
            digest.update(self.data(name)[middle : middle + SAMPLE].data)
        return digest.hexdigest()

    def integer(self, key: str, default: int | None = None, least: int = 0) -> int:
        """An integer of the metadata, from `least` up.

        Raises GGUFError when it is something else, or missing without a default.
        """
        return fields.integer(self.metadata, self.path, key, default, least)

    def number(self, key: str, default: float | None = None, least: float = -math.inf) -> float:
        """A finite number of the metadata, from `least` up; errors as for `integer`."""
        return fields.number(self.metadata, self.path, key, default, least)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """A truth value of the metadata; errors as for `integer`."""
        return fields.boolean(self.metadata, self.path, key, default)

    def text(self, key: str, default: str | None = None) -> str:
        """A string of the metadata; errors as for `integer`."""
        return fields.text(self.metadata, self.path, key, default)

    def close(self) -> None:
        """Let go of the files and their bytes. A mapping ends when the last array that uses it is gone."""
        for mapped in self._mapped:
            mapped.close()
        self._mapped, self._bytes = [], []

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Open a GGUF file, or the whole model when the file is any part of a split one.

    Reads the header only; tensors stay on disk until they are used. Raises GGUFError, which says what is
    wrong, for everything that is not a sound GGUF file.
    """
    asked = Path(path)
    mappings = [MappedFile(asked)]
    try:
        headers = [read_header(mappings[0].data, asked)]
    except GGUFError:
        if piece := not_gguf.what_piece_is(asked):
            raise GGUFError(f"{asked}: {piece}") from None
        raise
    paths = part_paths(asked, headers[0])
    if len(paths) > 1:
        mappings = [MappedFile(part) for part in paths]
        headers = [read_header(mappings[i].data, part, i) for i, part in enumerate(paths)]
        check_parts(paths, headers)
    return GGUFFile(asked, paths, headers, mappings)
