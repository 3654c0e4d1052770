"""What quantizing to the grid types looks up: the entry of a grid with given codes, or candidates for it.

A grid has some of all combinations of 8 codes below 3, or of 4 codes below 8. The key of a combination is its
codes as one number, of two or three bits each, the first lowest. A key that is not on the grid has
candidates: the entries in the smallest distances from it that occur (how many of them depends on the type),
by distance, then by number.

There are three tables:

    keys      for each key, int32: the number of an entry,
              or -(FIRST_CHUNK * number of its first chunk + count of its chunks)
    entries   for each its values, bytes
    chunks    8 candidates each: their numbers (uint16), then for each place the 8 values there (bytes);
              a last chunk is filled up with its last candidate

A value is what a code stands for, before scale and sign: 2 * code + 1, or with IQ1_* the code itself, of
which XX
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...arrays import address_of, copy_of
from ...jit.store import packed
from ...machine.fork_safe_lock import ForkSafeLock
from .grid_types import CHUNK, FIRST_CHUNK, GridType, Packing, Renewed


@dataclass(frozen=True)
class Grid:
    """A grid and its candidates.

    name: of gguf's quantization that has it. places: codes of an entry. n_distances: in which candidates lie.
    odd: whether values are 2 * code + 1.
    """

    name: str
    n_entries: int
    places: int
    n_distances: int
    odd: bool = True

    @property
    def levels(self) -> int:
        """Different codes."""
        return 3 if self.places == 8 else 8

    @property
    def bits(self) -> int:
        """Of a code in a key."""
        return 2 if self.places == 8 else 3


@dataclass(frozen=True)
class Fit:
    """How a type is fitted: its grid, and fields of `GridType`."""

    grid: Grid
    block: int
    variance: float
    floor: float
    factor: float
    steps: int = 0
    step: float = 0.0
    even: bool = False
    renewed: Renewed = Renewed.OFF_GRID


_OF_IQ1 = Grid("IQ1_S", 2048, 8, 3, odd=False)
FITS = {
    "IQ2_XXS": Fit(Grid("IQ2_XXS", 256, 8, 2), 32, 1.0, 0.25, 1.0, 6, 0.1, True, Renewed.ALL),
    "IQ2_XS": Fit(Grid("IQ2_XS", 512, 8, 2), 16, 1.0, 0.25, 1.0, 9, 0.1, True),
    "IQ2_S": Fit(Grid("IQ2_S", 1024, 8, 1), 16, 2.0, 0.25, 0.9875, 9, 0.1),
    "IQ3_XXS": Fit(Grid("IQ3_XXS", 256, 4, 2), 32, 2.0, 0.0, 1.0125, 15, 0.2, True),
    "IQ3_S": Fit(Grid("IQ3_S", 512, 4, 3), 32, 2.0, 0.0, 1.033, 9, 0.2, False, Renewed.ALL_IF_ANY),
    "IQ1_S": Fit(_OF_IQ1, 32, 2.0, 0.0, 1.125),
    "IQ1_M": Fit(_OF_IQ1, 16, 2.0, 0.0, 1.1125),
}
"""All grid types."""

_lock = ForkSafeLock()


def grid_type(name: str) -> np.ndarray:
    """The record of a grid type, which lives as long as the process, as do the tables."""
    with _lock:
        return _grid_type(name)


@functools.cache
def _grid_type(name: str) -> np.ndarray:
    fit = FITS[name]
    tables = _tables_of(fit.grid)
    return packed(
        GridType,
        keys=address_of(tables.keys),
        entries=address_of(tables.entries),
        chunks=address_of(tables.chunks),
        packing=Packing[name],
        block=fit.block,
        steps=fit.steps,
        step=fit.step,
        even=fit.even,
        renewed=fit.renewed,
        variance=fit.variance,
        floor=fit.floor,
        factor=fit.factor,
    )


class Tables(NamedTuple):
    """The three parts of a grid's tables, all uint8."""

    keys: np.ndarray
    entries: np.ndarray
    chunks: np.ndarray


@functools.cache
def _tables_of(grid: Grid) -> Tables:
    """The tables of a grid, made when they are first asked for, in up to a fifth of a second."""
    codes = _codes(grid)
    distances = _distances(codes, grid)
    off_grid = np.flatnonzero(distances.min(axis=1))
    counts, numbers = _candidates(distances[off_grid], grid.n_distances)
    chunks, n_chunks = _chunks(_values(codes, grid), counts, numbers)
    first = np.cumsum(n_chunks) - n_chunks
    keys = np.zeros(1 << (grid.bits * grid.places), np.int32)
    keys[_keys_of(codes, grid)] = np.arange(len(codes))
    combinations = _combinations(grid.levels, grid.places)
    keys[_keys_of(combinations[off_grid], grid)] = -(FIRST_CHUNK * first + n_chunks)
    parts = (keys, _values(codes, grid), chunks)
    return Tables(*(copy_of(part.reshape(-1).view(np.uint8), np.uint8) for part in parts))


def _codes(grid: Grid) -> np.ndarray:
    """The codes of the entries, uint8 (entries, places)."""
    import gguf.quants

    quantization = getattr(gguf.quants, grid.name)
    quantization.init_grid()
    magnitudes = quantization.grid.reshape(grid.n_entries, grid.places)
    codes: np.ndarray = np.searchsorted(np.unique(magnitudes), magnitudes).astype(np.uint8)
    return codes


def _values(codes: np.ndarray, grid: Grid) -> np.ndarray:
    return 2 * codes + 1 if grid.odd else codes


def _keys_of(codes: np.ndarray, grid: Grid) -> np.ndarray:
    keys: np.ndarray = (codes.astype(np.int64) << (grid.bits * np.arange(grid.places))).sum(axis=1)
    return keys


def _combinations(levels: int, places: int) -> np.ndarray:
    """All combinations of codes, uint8 (combinations, places), the last place changing fastest."""
    combinations: np.ndarray = np.indices((levels,) * places, np.uint8).reshape(places, -1).T
    return combinations


def _distances(codes: np.ndarray, grid: Grid) -> np.ndarray:
    """Squared distances of all combinations from all entries, uint8 (none is above 196).

    They are those of the first half of the places plus those of the second.
    """
    half = grid.places // 2
    of_half = _combinations(grid.levels, half)[:, None, :].astype(np.int16)
    first, second = (
        ((of_half - part.astype(np.int16)) ** 2).sum(axis=2).astype(np.uint8)
        for part in (codes[:, :half], codes[:, half:])
    )
    distances: np.ndarray = (first[:, None, :] + second[None, :, :]).reshape(-1, len(codes))
    return distances


def _candidates(distances: np.ndarray, n_distances: int) -> tuple[np.ndarray, np.ndarray]:
    """How many candidates each row has, and the numbers of all, row after row."""
    limit = distances.min(axis=1)
    for _ in range(n_distances - 1):
        limit = np.where(distances > limit[:, None], distances, np.uint8(255)).min(axis=1)
    rows, numbers = np.nonzero(distances <= limit[:, None])
    order = np.lexsort((numbers, distances[rows, numbers], rows))
    return np.bincount(rows, minlength=len(distances)), numbers[order]


def _chunks(values: np.ndarray, counts: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The chunks, uint8 (chunks, chunk bytes), and how many each key has."""
    n_chunks = -(-counts // CHUNK)
    starts, rows = np.cumsum(counts) - counts, np.repeat(np.arange(len(counts)), n_chunks * CHUNK)
    within = np.arange(len(rows)) - np.repeat((np.cumsum(n_chunks) - n_chunks) * CHUNK, n_chunks * CHUNK)
    filled = numbers[starts[rows] + np.minimum(within, counts[rows] - 1)].reshape(-1, CHUNK)
    of_places = values[filled].transpose(0, 2, 1).reshape(len(filled), -1)
    return np.hstack([filled.astype(np.uint16).view(np.uint8), of_places]), n_chunks
