"""The trunk's last hidden states of a sequence, which multi-token prediction goes on from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HiddenStates:
    """Final-normed hidden states of tokens that follow each other, float32 (n, hidden size).

    position: of the first.
    """

    position: int
    rows: np.ndarray

    def at(self, position: int) -> np.ndarray | None:
        """That of a position, float32 (hidden size,); None where it is not known."""
        place = position - self.position
        return self.rows[place] if 0 <= place < len(self.rows) else None

    def before(self, position: int) -> HiddenStates:
        """Those before a position, perhaps none."""
        return HiddenStates(self.position, self.rows[: max(0, position - self.position)])
