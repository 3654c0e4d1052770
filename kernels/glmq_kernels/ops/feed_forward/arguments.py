"""What the kernels `gate_up` and `down` are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentPart, ArgumentRecord


class GateUp(ArgumentRecord):
    """Hidden = silu(gate x) * up x; gate's and up's `NetworkMatrix` are behind this."""

    COUNT_SLOT = auto()  # of the state: how many tokens
    ROW_FORM_SLOT = auto()  # of the state: how many of them take the row form
    ROUTING = auto()  # 0: dense
    ACTIVATION = auto()  # its rows are read for the row form
    GATHERED = auto()  # its tiles are, for the panel form
    TABLE = auto()  # of experts: addresses of gate, up, down
    ROWS = auto()
    HIDDEN = auto()  # a row for each token and choice, by expert
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread
    SUMS_OFFSET = auto()  # where in a thread's scratch the sums of panels are


class Down(ArgumentRecord):
    """Out += weight of the choice * down hidden, for some networks, each a `DownNetwork` behind this."""

    COUNT_SLOT = auto()  # of the state: how many tokens
    ROW_FORM_SLOT = auto()  # of the state: how many of them take the row form
    ROWS = auto()
    OUT = auto()  # float32 (n, rows)
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread
    SUMS_OFFSET = auto()  # where in a thread's scratch the sums of panels are
    N_NETWORKS = auto()


class NetworkMatrix(ArgumentPart):
    """What experts' matrices of one kind have in common: bytes of a row, and the kernels of their type."""

    ROW_BYTES = auto()
    DOT_ROWS = auto()
    MULTIPLY = auto()


class DownNetwork(ArgumentPart):
    """A network's down matrices, as `NetworkMatrix`, and what they are multiplied with."""

    ROW_BYTES = auto()
    DOT_ROWS = auto()
    MULTIPLY = auto()
    ROUTING = auto()  # 0: dense
    HIDDEN = auto()
    TABLE = auto()  # of experts: addresses of gate, up, down
    AFTER = auto()  # of a dense network: the routing of the one that follows, or 0
