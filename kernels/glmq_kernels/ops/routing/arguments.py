"""What the kernels `top_k` and `dispatch` are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class TopK(ArgumentRecord):
    """The experts of each token."""

    COUNT_SLOT = auto()  # of the state: how many tokens
    LOGITS = auto()  # float32 (n, n_experts); room for a multiple of 16
    SCRATCH = auto()  # see `kernel.top_k`
    SCRATCH_BYTES = auto()  # of a thread
    BIAS = auto()  # float32 (n_experts,), or 0
    N_GROUPS = auto()
    KEPT_GROUPS = auto()
    NORMALIZE = auto()  # 1: weights are divided by their sum
    FACTOR = auto()  # float
    ROUTING = auto()


class Dispatch(ArgumentRecord):
    """The tokens of each expert."""

    COUNT_SLOT = auto()  # of the state: how many tokens
    ROW_FORM_SLOT = auto()  # of the state: how many of them take the row form
    ROUTING = auto()
