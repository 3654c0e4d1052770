"""The tape interpreter: all threads run the same list of kernels, meeting at barriers.

An operation is three int64: the kernel's address, its argument array's, and whether the threads meet
after it. Operations that do not depend on each other need no meeting.

Between tapes the helper threads wait on a *board*: they spin for a while, which makes the next tape
start within a microsecond, then park in Python.
"""

from __future__ import annotations

from ..board import (
    BARRIER_COUNT,
    BARRIER_TURN,
    N_OPERATIONS,
    OPERATIONS,
    PARKED,
    PARKED_STRIDE,
    POSTED,
    STOPPED,
)
from .memory import (
    argument,
    atomic_add,
    atomic_load,
    atomic_store,
    call_kernel,
    inline,
    load_i64,
    spin_pause,
    yield_thread,
)

SPINS_BEFORE_YIELD = 2000
YIELDS_BEFORE_PARKING = 300


@inline
def _meet(board, threads):
    """A barrier: nobody leaves before all `threads` have come."""
    turn = atomic_load(board + BARRIER_TURN)
    if atomic_add(board + BARRIER_COUNT, 1) == threads - 1:
        atomic_store(board + BARRIER_COUNT, 0)
        atomic_store(board + BARRIER_TURN, turn + 1)
    else:
        waited = 0
        while atomic_load(board + BARRIER_TURN) == turn:
            waited += 1
            if waited < SPINS_BEFORE_YIELD:
                spin_pause()
            else:
                yield_thread()


@inline
def _run(board, thread, threads):
    operation = load_i64(board + OPERATIONS)
    for _ in range(load_i64(board + N_OPERATIONS)):
        call_kernel(load_i64(operation), load_i64(operation + 8), thread, threads)
        if load_i64(operation + 16) and threads > 1:
            _meet(board, threads)
        operation += 24


def lead(args, thread, threads):
    """Run the board's tape as thread 0. Arguments: board."""
    _run(argument(args, 0), 0, threads)


def serve(args, thread, threads):
    """Run every tape that is posted; return when none has come for a while, or the team stops.

    Arguments: board, turns seen (address of one int64 a thread: how many tapes it has run). A thread
    says that it parks, then looks once more, so that a tape posted meanwhile is not missed.
    """
    board, seen = argument(args, 0), argument(args, 1) + 8 * thread
    parked = board + PARKED + PARKED_STRIDE * thread
    atomic_store(parked, 0)
    waited = 0
    while not atomic_load(board + STOPPED):
        if atomic_load(board + POSTED) != load_i64(seen):
            atomic_store(parked, 0)
            atomic_add(seen, 1)
            if not atomic_load(board + STOPPED):
                _run(board, thread, threads)
            waited = 0
        elif waited < SPINS_BEFORE_YIELD:
            spin_pause()
        elif waited < SPINS_BEFORE_YIELD + YIELDS_BEFORE_PARKING:
            yield_thread()
        elif not atomic_load(parked):
            atomic_add(parked, 1)
        else:
            break
        waited += 1


def post(args, thread, threads):
    """Let the helpers begin with the board's tape. Arguments: board."""
    atomic_add(argument(args, 0) + POSTED, 1)
