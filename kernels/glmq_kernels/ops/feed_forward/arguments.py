"""What the kernels `gate_up` and `down` are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentPart, ArgumentRecord


class GateUp(ArgumentRecord):
    """Hidden = silu(gate x) * up x; gate's and up's `NetworkMatrix` are behind this."""

    ROUTING = auto()  # 0: dense
    ACTIVATION = auto()  # its rows are read for up to four tokens of an expert
    GATHERED = auto()  # its tiles are, for more
    TABLE = auto()  # of experts: addresses of gate, up, down
    ROWS = auto()
    HIDDEN = auto()  # a row for each token and choice, by expert where there are several tokens
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread
    SUMS_OFFSET = auto()  # where in a thread's scratch the sums are


class Down(ArgumentRecord):
    """Out += weight of the choice * down hidden; down's `NetworkMatrix` is behind this."""

    ROUTING = auto()  # 0: dense
    HIDDEN = auto()
    TABLE = auto()  # of experts: addresses of gate, up, down
    ROWS = auto()
    OUT = auto()  # float32 (n, rows)
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread
    SUMS_OFFSET = auto()  # where in a thread's scratch the sums are


class NetworkMatrix(ArgumentPart):
    """What experts' matrices of one kind have in common: bytes of a row, and the kernels of their type."""

    ROW_BYTES = auto()
    DOT_ROWS = auto()
    DOT_ROWS_4 = auto()
    MULTIPLY = auto()
