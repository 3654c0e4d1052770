"""From here on only for the tokens whose outputs are wanted."""

from __future__ import annotations

from ...gemm.activation_record import ACTIVATION_COLUMNS, ACTIVATION_ROWS
from ...simd.addresses import argument, load_i64
from ...threads.argument_record import STATE
from ..activation.kernel import prepare_row
from ..batch_state import N_OUTPUTS, N_ROW_OUTPUTS, OUTPUTS
from ..row_copy import copy_row
from .arguments import GatherOutputs


def gather_outputs(args, thread, threads):
    """Copy rows of the residual stream and of the attention's output, and prepare the latter."""
    state, activation = argument(args, STATE), argument(args, GatherOutputs.ATTENDED_OUT)
    n, in_row_form = argument(state, N_OUTPUTS), argument(state, N_ROW_OUTPUTS)
    columns, attended_columns = (
        argument(args, GatherOutputs.STREAM_COLUMNS),
        argument(activation, ACTIVATION_COLUMNS),
    )
    for i in range(n * thread // threads, n * (thread + 1) // threads):
        token = load_i64(argument(state, OUTPUTS) + 8 * i)
        stream = argument(args, GatherOutputs.STREAM) + 4 * columns * token
        copy_row(stream, argument(args, GatherOutputs.STREAM_OUT) + 4 * columns * i, columns)
        attended = argument(args, GatherOutputs.ATTENDED) + 4 * attended_columns * token
        copy_row(attended, argument(activation, ACTIVATION_ROWS) + 4 * attended_columns * i, attended_columns)
        prepare_row(activation, i, in_row_form, 0, attended_columns)
