"""The tape interpreter: all threads run the same list of kernels, meeting at barriers.

An operation is three int64: the kernel's address, its argument array's, and whether the threads meet
after it. Operations that do not depend on each other need no meeting.

Between tapes the helper threads wait on a *board*: they spin for a while, which makes the next tape
start within a microsecond, then sleep.
"""

from __future__ import annotations

from ..simd.addresses import (
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
from . import sleeping as parking
from .layout import BARRIER_COUNT, BARRIER_TURN, N_OPERATIONS, OPERATIONS, PARKED, POSTED, STOPPED

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


def initialize(args, thread, threads):
    """Prepare a board of zeros. Arguments: board."""
    parking.initialize(argument(args, 0))


def lead(args, thread, threads):
    """Post the board's tape to the helpers and run it with them, as thread 0. Arguments: board.

    One call does both, so that nothing that Python does in between, such as raising KeyboardInterrupt,
    leaves helpers at a barrier to which nobody comes.
    """
    board = argument(args, 0)
    if threads > 1:
        _post(board)
    _run(board, 0, threads)


def stop(args, thread, threads):
    """Let the helpers return from `serve`. Arguments: board."""
    board = argument(args, 0)
    atomic_store(board + STOPPED, 1)
    _post(board)


def serve(args, thread, threads):
    """Run every tape that is posted, until the pool stops. Arguments: board."""
    board = argument(args, 0)
    n_seen = 0
    while True:
        _await_post(board, n_seen)
        n_seen += 1
        if atomic_load(board + STOPPED):
            break
        _run(board, thread, threads)


@inline
def _post(board):
    atomic_add(board + POSTED, 1)
    if atomic_add(board + PARKED, 0):
        parking.lock(board)
        parking.wake_all(board)
        parking.unlock(board)


@inline
def _await_post(board, n_seen):
    """Wait until more than `n_seen` tapes have been posted: spinning, then yielding, then asleep.

    A thread counts itself as parked before it looks for the last time, and a tape is posted before the
    parked are counted, so one of the two sees the other.
    """
    waited = 0
    while atomic_load(board + POSTED) == n_seen and waited < SPINS_BEFORE_YIELD + YIELDS_BEFORE_PARKING:
        if waited < SPINS_BEFORE_YIELD:
            spin_pause()
        else:
            yield_thread()
        waited += 1
    if atomic_load(board + POSTED) == n_seen:
        parking.lock(board)
        atomic_add(board + PARKED, 1)
        while atomic_load(board + POSTED) == n_seen:
            parking.sleep(board)
        atomic_add(board + PARKED, -1)
        parking.unlock(board)
