"""What the kernels `choose` and `sort` are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class TopK(ArgumentRecord):
    """The experts of each token."""

    LOGITS = auto()  # float32 (n, n_experts), become scores; room for a multiple of 16
    CHOICE = auto()  # scratch, float32 (n, row length)
    ROW_LENGTH = auto()  # n_experts and n_groups, each rounded up to 16
    BIAS = auto()  # float32 (n_experts,), or 0
    N_GROUPS = auto()
    KEPT_GROUPS = auto()
    NORMALIZE = auto()  # 1: weights are divided by their sum
    FACTOR = auto()  # float
    ROUTING = auto()


class Dispatch(ArgumentRecord):
    """The tokens of each expert."""

    ROUTING = auto()
