"""Running a few operations by themselves."""

from __future__ import annotations

import numpy as np
from glmq_kernels.arrays import ROW_PADDING, zeros
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_state import N_ROW_TOKENS, N_TOKENS
from glmq_kernels.ops.operands import Experts, Matrix
from glmq_kernels.threads.tape import ACTIVATION_TYPES, Tape


def new_tape(thread_pool, n_tokens, activations="int8", n_row_tokens=0):
    """A tape for batches of exactly `n_tokens`, the first `n_row_tokens` of which take the row form."""
    tape = Tape(max_tokens=n_tokens, n_threads=thread_pool.n_threads, activations=activations)
    tape.state[N_TOKENS], tape.state[N_ROW_TOKENS] = n_tokens, n_row_tokens
    return tape


def run(tape, thread_pool):
    tape.finish()
    tape.run(thread_pool)


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


def product_kernels(type_names):
    """Names of the kernels that operations with matrices of some tensor types need."""
    names = set()
    for precision in ACTIVATION_TYPES:
        tape = Tape(max_tokens=8, n_threads=1, activations=precision)
        source, hidden = (operations.new_activation(tape, 256) for _ in range(2))
        out = operations.float_rows(tape, 256)
        operations.prepare_rows(tape, source)
        for type_name in type_names:
            matrix = Matrix(0, 256, 256, type_name)
            experts = Experts([matrix], [matrix], [matrix])
            operations.matmul(tape, source, operations.Projection(matrix, out))
            operations.embed(tape, matrix, out)
            network = operations.Network(experts, hidden)
            operations.gate_up(tape, network, source, source)
            operations.down(tape, network, out=out)
        names.update(tape.kernel_names())
    return sorted(names)
