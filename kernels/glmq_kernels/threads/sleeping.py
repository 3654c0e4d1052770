"""Threads that sleep until there is work, by the system's own lock and condition in the pool's shared state.

POSIX: pthread_mutex_t and pthread_cond_t. Windows: SRWLOCK and CONDITION_VARIABLE, for which zeros are
the initial state.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..simd.addresses import inline
from ..simd.vectors import I32, call_llvm
from .shared_state import CONDITION, LOCK

ON_WINDOWS = sys.platform == "win32"
FOREVER = 0xFFFFFFFF
BYTE_POINTER = ir.IntType(8).as_pointer()


def _call_with_one(name: str) -> Any:
    """`call(address)` of a system function that takes a pointer."""

    @intrinsic
    def call(typing: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            call_llvm(builder, name, I32, [builder.inttoptr(values[0], BYTE_POINTER)])
            return context.get_dummy_value()

        return types.none(types.int64), codegen

    return call


def _call_with_two(name: str, *constants: Any) -> Any:
    """`call(address, address)` of a system function that takes two pointers, then `constants`."""

    @intrinsic
    def call(typing: Any, first: Any, second: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            pointers = [builder.inttoptr(value, BYTE_POINTER) for value in values]
            call_llvm(builder, name, I32, [*pointers, *constants])
            return context.get_dummy_value()

        return types.none(types.int64, types.int64), codegen

    return call


if ON_WINDOWS:
    _lock = _call_with_one("AcquireSRWLockExclusive")
    _unlock = _call_with_one("ReleaseSRWLockExclusive")
    _wait = _call_with_two("SleepConditionVariableSRW", I32(FOREVER), I32(0))
    _wake_all = _call_with_one("WakeAllConditionVariable")

    @inline
    def initialize(shared):
        """Nothing: zeros will do."""

    @inline
    def initialize_condition(condition):
        """Nothing: zeros will do."""
else:
    _lock = _call_with_one("pthread_mutex_lock")
    _unlock = _call_with_one("pthread_mutex_unlock")
    _wait = _call_with_two("pthread_cond_wait")
    _wake_all = _call_with_one("pthread_cond_broadcast")
    _initialize_lock = _call_with_two("pthread_mutex_init")
    _initialize_condition = _call_with_two("pthread_cond_init")

    @inline
    def initialize(shared):
        """Make the lock and the condition of a new shared state."""
        _initialize_lock(shared + LOCK, 0)
        _initialize_condition(shared + CONDITION, 0)

    @inline
    def initialize_condition(condition):
        """Make a further condition."""
        _initialize_condition(condition, 0)


@inline
def lock(shared):
    """Wait until no other thread holds the lock, and take it."""
    _lock(shared + LOCK)


@inline
def unlock(shared):
    """Give the lock back."""
    _unlock(shared + LOCK)


@inline
def sleep_on(shared, condition):
    """The same with another condition than the shared state's own."""
    _wait(condition, shared + LOCK)


@inline
def sleep(shared):
    """Give the lock back and sleep until woken (perhaps for no reason); then take the lock again."""
    sleep_on(shared, shared + CONDITION)


@inline
def wake_all_on(condition):
    """Wake every thread that sleeps on a condition."""
    _wake_all(condition)


@inline
def wake_all(shared):
    """Wake every sleeping thread."""
    wake_all_on(shared + CONDITION)
