"""The trunk's last hidden states of a sequence, which multi-token prediction goes on from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HiddenStates:
    """Final-normed hidden states of tokens that follow each other, float32 (n, hidden size).

    position: of the first. n_behind: of the last so many tokens the layer has no keys and values yet; the
    state before the first of them is among the rows too.
    """

    position: int
    rows: np.ndarray
    n_behind: int = 0

    def at(self, position: int) -> np.ndarray | None:
        """That of a position, float32 (hidden size,); None where it is not known."""
        place = position - self.position
        return self.rows[place] if 0 <= place < len(self.rows) else None

    def before(self, position: int) -> HiddenStates:
        """Those before a position, perhaps none."""
        rows = self.rows[: max(0, position - self.position)]
        n_cut = len(self.rows) - len(rows)
        return HiddenStates(self.position, rows, max(0, self.n_behind - n_cut))
