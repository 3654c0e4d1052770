"""From here on only for the rows whose outputs, or logits, are wanted."""

from __future__ import annotations

from ...simd.addresses import argument, load_i64
from ...threads.argument_record import STATE
from ..activation.kernel import prepare_row
from ..row_copy import copy_row
from .arguments import Gather


def gather(args, thread, threads):
    """Copy rows, and prepare them where they are those of an activation. Takes `Gather`."""
    state, columns = argument(args, STATE), argument(args, Gather.COLUMNS)
    first_slot, prepared = argument(args, Gather.FIRST_SLOT), argument(args, Gather.PREPARED)
    table = argument(state, argument(args, Gather.TABLE_SLOT))
    first = argument(state, first_slot) if first_slot >= 0 else 0
    n, in_row_form = (
        argument(state, argument(args, Gather.LAST_SLOT)) - first,
        argument(state, argument(args, Gather.ROW_FORM_SLOT)),
    )
    for i in range(first + n * thread // threads, first + n * (thread + 1) // threads):
        source = argument(args, Gather.SOURCE) + 4 * columns * load_i64(table + 8 * i)
        copy_row(source, argument(args, Gather.OUT) + 4 * columns * i, columns)
        if prepared:
            prepare_row(prepared, i, in_row_form, 0, columns)
