"""The angles of a rotary embedding by position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST_ANGLES = 1024
"""Positions whose angles are worked out to begin with."""


@dataclass(frozen=True)
class Rotary:
    """Rotary embedding: angle of dimension pair i at position p is p * frequencies[i] radians.

    `interleaved` pairs neighbours (2i, 2i + 1), otherwise pairs are (i, i + n_rotated / 2). What is rotated
    is also multiplied by `amplitude`. score_factor: what stretching multiplies all scores of attention by.
    """

    frequencies: np.ndarray
    interleaved: bool
    amplitude: float = 1.0
    score_factor: float = 1.0

    @property
    def n_rotated(self) -> int:
        """Dimensions of a head that are rotated."""
        return 2 * len(self.frequencies)


class AngleTable:
    """Cosines and sines of a rotary embedding by position, worked out as positions come."""

    def __init__(self, rotary: Rotary) -> None:
        self._rotary = rotary
        self._cosines, self._sines = (np.zeros((0, len(rotary.frequencies)), np.float32) for _ in range(2))

    def look_up(self, positions: np.ndarray, cosines: np.ndarray, sines: np.ndarray) -> None:
        """Fill float32 (n, pairs) cosines and sines, amplitude included, of int64 (n,) positions."""
        needed = int(positions.max()) + 1
        if needed > len(self._cosines):
            self._extend(max(needed, FIRST_ANGLES, 2 * len(self._cosines)))
        self._cosines.take(positions, axis=0, out=cosines)
        self._sines.take(positions, axis=0, out=sines)

    def _extend(self, n: int) -> None:
        rotary = self._rotary
        angles = np.outer(np.arange(len(self._cosines), n, dtype=np.float64), rotary.frequencies)
        self._cosines = np.concatenate(
            (self._cosines, (rotary.amplitude * np.cos(angles)).astype(np.float32))
        )
        self._sines = np.concatenate((self._sines, (rotary.amplitude * np.sin(angles)).astype(np.float32)))
