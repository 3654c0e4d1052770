"""Two rows of each token, each normalized, side by side."""

from __future__ import annotations

from ...gemm.activation_record import ACTIVATION_ROWS
from ...simd.addresses import argument, float_argument
from ...threads.argument_record import STATE
from ..activation.kernel import prepare_row
from ..batch_state import N_ROW_TOKENS, N_TOKENS
from ..norm.kernel import inverse_rms, scale_row
from .arguments import JoinedNorms


def join(args, thread, threads):
    """Normalize both rows of each token into a row of an activation and prepare it."""
    state, activation = argument(args, STATE), argument(args, JoinedNorms.OUT)
    n, in_row_form = argument(state, N_TOKENS), argument(state, N_ROW_TOKENS)
    columns, epsilon = argument(args, JoinedNorms.COLUMNS), float_argument(args, JoinedNorms.EPSILON)
    out = argument(activation, ACTIVATION_ROWS)
    for t in range(n * thread // threads, n * (thread + 1) // threads):
        row, target = 4 * columns * t, out + 8 * columns * t
        first, second = argument(args, JoinedNorms.FIRST) + row, argument(args, JoinedNorms.SECOND) + row
        factor = inverse_rms(first, columns, epsilon)
        scale_row(first, argument(args, JoinedNorms.FIRST_WEIGHT), factor, target, 0, columns)
        factor = inverse_rms(second, columns, epsilon)
        scale_row(second, argument(args, JoinedNorms.SECOND_WEIGHT), factor, target + 4 * columns, 0, columns)
        prepare_row(activation, t, in_row_form, 0, 2 * columns)
