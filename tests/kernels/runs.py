"""Running a few operations by themselves."""

from __future__ import annotations

import numpy as np
from glmq_kernels.memory import ROW_PADDING, zeros
from glmq_kernels.slots import N_TOKENS
from glmq_kernels.tape import Tape


def new_tape(team, n_tokens, activations="int8"):
    """A tape for batches of exactly `n_tokens`."""
    tape = Tape(max_tokens=n_tokens, n_threads=team.n_threads, activations=activations)
    tape.state[N_TOKENS] = n_tokens
    return tape


def run(tape, team):
    tape.finish()
    tape.run(team)


def fill(memory, values):
    """Write an array to the beginning of a uint8 buffer."""
    values = np.ascontiguousarray(values)
    memory[: values.nbytes] = values.view(np.uint8).ravel()


def floats(memory, *shape):
    """The beginning of a uint8 buffer as float32 of a shape."""
    return memory[: 4 * int(np.prod(shape))].view(np.float32).reshape(shape)


def padded(values):
    """A float32 vector that 16 lanes may be read past."""
    memory = zeros(len(values) + ROW_PADDING // 4, np.float32)
    memory[: len(values)] = values
    return memory[: len(values)]
