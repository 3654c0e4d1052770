"""Waiting for other threads: spinning first, then yielding the core in between, then asleep.

What is waited for is a *counter* in the shared state that only grows. Spinning makes the usual wait end
within a fraction of a microsecond. A thread that waits longer has another program on one of the cores, and
then a thread that spins on keeps its core from the one that it waits for.

No wake-up is lost. Whoever raises a counter adds to it, then looks whether anybody sleeps. Whoever goes to
sleep takes the lock, counts itself as sleeping, then looks at the counter again. All four are atomic
additions (of 0 where only a value is wanted), which every thread sees in one order, so at least one side
sees the other: either the sleeper finds the counter raised and does not sleep, or the raiser finds it
counted and takes the lock, which it gets only when the sleeper has given it back by sleeping, and wakes it.
"""

from __future__ import annotations

from ..simd.addresses import atomic_add, atomic_load, atomic_store, inline, load_i64, spin_pause, yield_thread
from .shared_state import N_ARRIVED, N_BARRIERS, N_SLEEPING, SPINS, YIELDS
from .sleeping import lock, sleep, unlock, wake_all


@inline
def raise_counter(shared, counter):
    """Add one to a counter of the shared state, and wake whoever sleeps."""
    atomic_add(shared + counter, 1)
    if atomic_add(shared + N_SLEEPING, 0):
        lock(shared)
        wake_all(shared)
        unlock(shared)


@inline
def await_counter(shared, counter, seen):
    """Wait until a counter of the shared state is not `seen`."""
    spins = load_i64(shared + SPINS)
    patience = spins + load_i64(shared + YIELDS)
    waited = 0
    while atomic_load(shared + counter) == seen and waited < patience:
        if waited < spins:
            spin_pause()
        else:
            yield_thread()
        waited += 1
    if atomic_load(shared + counter) == seen:
        lock(shared)
        atomic_add(shared + N_SLEEPING, 1)
        while atomic_add(shared + counter, 0) == seen:
            sleep(shared)
        atomic_add(shared + N_SLEEPING, -1)
        unlock(shared)


@inline
def barrier(shared, threads):
    """Wait until all `threads` have come here.

    The number of those that have come is 0 again before the first of them goes on, so the next barrier
    can be the same.
    """
    seen = atomic_load(shared + N_BARRIERS)
    if atomic_add(shared + N_ARRIVED, 1) == threads - 1:
        atomic_store(shared + N_ARRIVED, 0)
        raise_counter(shared, N_BARRIERS)
    else:
        await_counter(shared, N_BARRIERS, seen)
