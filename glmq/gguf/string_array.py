"""String arrays of a GGUF file: hundreds of thousands of strings, decoded when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

LENGTH_BYTES = 8


class StringArray(Sequence[str]):
    """A read-only sequence of strings as they lie in a file.

    `offsets` is int64 (len + 1,): the position in `data` of each string's uint64 length, and the end of
    the last string. Bytes that are not UTF-8 decode to U+FFFD; `bytes_at` gives them as they are.
    """

    def __init__(self, data: np.ndarray, offsets: np.ndarray) -> None:
        self.offsets = offsets
        self._data = data

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.bytes_at(index).decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_list())

    def __repr__(self) -> str:
        return f"<StringArray of {len(self)}>"

    def bytes_at(self, index: int) -> bytes:
        """The bytes of one string. Raises IndexError as a list would."""
        index = range(len(self))[index]
        return self._data[self.offsets[index] + LENGTH_BYTES : self.offsets[index + 1]].tobytes()

    def to_list(self) -> list[str]:
        """All strings at once, much faster than one by one."""
        if len(self) == 0:
            return []
        try:
            return self._split_at_zeros()
        except ValueError:
            return [self[i] for i in range(len(self))]

    def _split_at_zeros(self) -> list[str]:
        """Decode the whole stretch in one go, with a zero byte in place of each length.

        Raises ValueError when the strings hold zero bytes themselves or are not UTF-8.
        """
        start, end = int(self.offsets[0]), int(self.offsets[-1])
        lengths_at = self.offsets[:-1] - start
        stretch = self._data[start:end].copy()
        stretch[lengths_at] = 0
        keep = np.ones(len(stretch), bool)
        for i in range(1, LENGTH_BYTES):
            keep[lengths_at + i] = False
        found = stretch[keep].tobytes().decode("utf-8").split("\0")[1:]
        if len(found) != len(self):
            raise ValueError("a string holds a zero byte")
        return found
