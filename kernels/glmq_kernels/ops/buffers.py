"""Memory of a tape's batches: rows of floats, and activations."""

from __future__ import annotations

import numpy as np

from ..arrays import ROW_PADDING, aligned_zeros
from ..threads.tape import Tape
from .operands import Activation


def float_rows(tape: Tape, columns: int) -> np.ndarray:
    """Memory for float32 (max_tokens, columns), as uint8; padded so that 16 lanes may pass the end."""
    memory = aligned_zeros(tape.max_tokens * columns * 4 + ROW_PADDING)
    tape.keep(memory)
    return memory


def new_activation(tape: Tape, columns: int, rows: int | None = None, tiles: int | None = None) -> Activation:
    """An activation for a tape's batches, or of `rows` rows and `tiles` tiles."""
    activation = Activation(rows or tape.max_tokens, columns, tiles or tape.max_tiles, tape.activations)
    tape.keep(activation)
    return activation
