"""The tape interpreter: all threads run the same list of operations, with barriers between them.

An operation is three int64: the kernel's address, its argument record's, and whether there is a barrier
after it (`argument_record.py`). Operations that do not depend on each other need none.
"""

from __future__ import annotations

from ..simd.addresses import argument, atomic_load, atomic_store, call_kernel, inline, load_i64
from . import sleeping
from .argument_record import COUNTER_BYTES, N_NODES, STATE, TAKEN, UNLESS_ONE
from .arguments import PoolCall
from .barrier import await_counter, barrier, raise_counter
from .shared_state import N_OPERATIONS, N_POSTED, OPERATIONS, STOPPED

OPERATION_BYTES = 24


@inline
def _reset_taken(shared):
    """Nobody has taken units of any operation yet."""
    operation = load_i64(shared + OPERATIONS)
    for _ in range(load_i64(shared + N_OPERATIONS)):
        args = load_i64(operation + 8)
        for node in range(argument(args, N_NODES)):
            atomic_store(argument(args, TAKEN) + COUNTER_BYTES * node, 0)
        operation += OPERATION_BYTES


@inline
def _has_barrier(operation):
    """Whether threads wait for each other after an operation in this run."""
    code = load_i64(operation + 16)
    if code < UNLESS_ONE:
        return code == 1
    return argument(argument(load_i64(operation + 8), STATE), code - UNLESS_ONE) != 1


@inline
def _run(shared, thread, threads):
    operation = load_i64(shared + OPERATIONS)
    for _ in range(load_i64(shared + N_OPERATIONS)):
        call_kernel(load_i64(operation), load_i64(operation + 8), thread, threads)
        if threads > 1 and _has_barrier(operation):
            barrier(shared, threads)
        operation += OPERATION_BYTES


def initialize(args, thread, threads):
    """Prepare a shared state of zeros."""
    sleeping.initialize(argument(args, PoolCall.SHARED))


def lead(args, thread, threads):
    """Post the operations in the shared state to the helpers and run them with them, as thread 0.

    One call does both, so that nothing that Python does in between, such as raising KeyboardInterrupt,
    leaves helpers at a barrier to which nobody comes.
    """
    shared = argument(args, PoolCall.SHARED)
    _reset_taken(shared)
    if threads > 1:
        raise_counter(shared, N_POSTED)
    _run(shared, 0, threads)


def stop(args, thread, threads):
    """Let the helpers return from `serve`."""
    shared = argument(args, PoolCall.SHARED)
    atomic_store(shared + STOPPED, 1)
    raise_counter(shared, N_POSTED)


def serve(args, thread, threads):
    """Run everything that is posted, until the pool stops."""
    shared = argument(args, PoolCall.SHARED)
    n_seen = 0
    while True:
        await_counter(shared, N_POSTED, n_seen)
        n_seen += 1
        if atomic_load(shared + STOPPED):
            break
        _run(shared, thread, threads)
