"""From here on only for the tokens whose outputs are wanted."""

from __future__ import annotations

from ...simd.addresses import argument, load_i64
from ...threads.argument_record import STATE
from ..activation.kernel import prepare_row
from ..batch_state import N_ROW_OUTPUTS, OUTPUTS
from ..row_copy import copy_row
from .arguments import GatherOutputs


def gather_outputs(args, thread, threads):
    """Copy rows, and prepare them where they are those of an activation. Takes `GatherOutputs`."""
    state, columns = argument(args, STATE), argument(args, GatherOutputs.COLUMNS)
    first_slot, prepared = argument(args, GatherOutputs.FIRST_SLOT), argument(args, GatherOutputs.PREPARED)
    first = argument(state, first_slot) if first_slot >= 0 else 0
    n, in_row_form = (
        argument(state, argument(args, GatherOutputs.LAST_SLOT)) - first,
        argument(state, N_ROW_OUTPUTS),
    )
    for i in range(first + n * thread // threads, first + n * (thread + 1) // threads):
        token = load_i64(argument(state, OUTPUTS) + 8 * i)
        source = argument(args, GatherOutputs.SOURCE) + 4 * columns * token
        copy_row(source, argument(args, GatherOutputs.OUT) + 4 * columns * i, columns)
        if prepared:
            prepare_row(prepared, i, in_row_form, 0, columns)
