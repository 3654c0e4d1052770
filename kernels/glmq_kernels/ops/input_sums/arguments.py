"""What the kernel `sum_squares` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class SumSquares(ArgumentRecord):
    """Sums += squares of rows by column, for each matrix that they are the inputs of."""

    COUNT_SLOT = auto()  # of the state: how many tokens
    SOURCE = auto()  # float32 (n, columns), or as `kernel` draws it
    COLUMNS = auto()
    N_HEADS = auto()  # without routing: how many matrices there are
    ROUTING = auto()  # 0: every row meets the same matrices
    BY_PLACE = auto()  # 1: with routing, a row for each token and choice, by expert; 0: one for each token
    AFTER = auto()  # of a dense network: the routing of the one that follows, or 0
    SUMS = auto()  # float32 (n_matrices, columns)
    COUNTS = auto()  # int64 (n_matrices,): rows added
