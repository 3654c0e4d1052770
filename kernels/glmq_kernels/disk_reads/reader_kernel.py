"""Threads that read parts of files into memory, on their own, for whoever posts requests to them.

Requests wait in two rings in the readers' shared state (`reader_state.py`): urgent ones, and idle ones, of
which one is begun only while no urgent one waits or is being read. POSIX: pread. Windows: ReadFile, whose
position is in the record that it takes.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..simd.addresses import argument, atomic_load, atomic_store, call_kernel, inline, load_i64, store_i64
from ..simd.vectors import I32, I64, call_llvm
from ..threads import sleeping
from .arguments import Post, ReaderCall, Wait
from .reader_state import (
    ACTIVE,
    DROPPED,
    FINISHED,
    IDLE_HEAD,
    IDLE_RING,
    IDLE_TAIL,
    READ,
    REQUEST_ADDRESS,
    REQUEST_BYTES,
    REQUEST_FILE,
    REQUEST_IDLE,
    REQUEST_OFFSET,
    REQUEST_RESULT,
    RING_LENGTH,
    STOPPED,
    URGENT_HEAD,
    URGENT_RING,
    URGENT_TAIL,
    WORK,
)

ON_WINDOWS = sys.platform == "win32"
BYTE_POINTER = ir.IntType(8).as_pointer()
END_OF_FILE = -38
"""What ReadFile says where pread says 0."""
ERRNO_FUNCTION = "__error" if sys.platform == "darwin" else "__errno_location"


@intrinsic
def _read_posix(typing: Any, file: Any, address: Any, count: Any, offset: Any) -> Any:
    """Bytes read, or minus the system's error number."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        file, address, count, offset = args
        arguments = [builder.trunc(file, I32), builder.inttoptr(address, BYTE_POINTER), count, offset]
        done = call_llvm(builder, "pread", I64, arguments)
        place = call_llvm(builder, ERRNO_FUNCTION, I32.as_pointer(), [])
        error = builder.neg(builder.sext(builder.load(place), I64))
        return builder.select(builder.icmp_signed("<", done, I64(0)), error, done)

    return types.int64(types.int64, types.int64, types.int64, types.int64), codegen


@intrinsic
def _read_windows(typing: Any, file: Any, address: Any, count: Any, offset: Any) -> Any:
    """Bytes read, or minus the system's error number."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        file, address, count, offset = args
        # OVERLAPPED: two words for the system, the offset's halves, an event.
        record = builder.alloca(ir.ArrayType(I64, 4))
        builder.store(ir.Constant(ir.ArrayType(I64, 4), [0, 0, 0, 0]), record)
        builder.store(offset, builder.gep(record, [I32(0), I32(2)]))
        done = builder.alloca(I32)
        builder.store(I32(0), done)
        pointers = [builder.inttoptr(file, BYTE_POINTER), builder.inttoptr(address, BYTE_POINTER)]
        rest = [builder.trunc(count, I32), done, builder.bitcast(record, BYTE_POINTER)]
        worked = call_llvm(builder, "ReadFile", I32, [*pointers, *rest])
        error = builder.neg(builder.zext(call_llvm(builder, "GetLastError", I32, []), I64))
        error = builder.select(builder.icmp_signed("==", error, I64(END_OF_FILE)), I64(0), error)
        failed = builder.icmp_signed("==", worked, I32(0))
        return builder.select(failed, error, builder.zext(builder.load(done), I64))

    return types.int64(types.int64, types.int64, types.int64, types.int64), codegen


_read_some = _read_windows if ON_WINDOWS else _read_posix


def read(args, thread, threads):
    """Fulfil a request: its result becomes the bytes read, fewer at the file's end, or minus an error.

    args: address of the request.
    """
    wanted, done = load_i64(args + REQUEST_BYTES), 0
    while True:
        count = _read_some(
            load_i64(args + REQUEST_FILE),
            load_i64(args + REQUEST_ADDRESS) + done,
            wanted - done,
            load_i64(args + REQUEST_OFFSET) + done,
        )
        if count <= 0:
            break
        done += count
        # What is read in part, or to the end of a file of odd length, cannot be gone on with unaligned.
        if done >= wanted or done % 512:
            break
    atomic_store(args + REQUEST_RESULT, count if count < 0 else done)


def initialize(args, thread, threads):
    """Prepare a shared state of zeros."""
    shared = argument(args, ReaderCall.SHARED)
    sleeping.initialize(shared)
    sleeping.initialize_condition(shared + WORK)


@inline
def _take(ring, head, tail):
    """The next request of a ring, or 0."""
    first = load_i64(head)
    if first == load_i64(tail):
        return 0
    store_i64(head, first + 1)
    return load_i64(ring + first % RING_LENGTH * 8)


@inline
def _next_request(shared):
    request = _take(shared + URGENT_RING, shared + URGENT_HEAD, shared + URGENT_TAIL)
    if request == 0 and load_i64(shared + ACTIVE) == 0:
        request = _take(shared + IDLE_RING, shared + IDLE_HEAD, shared + IDLE_TAIL)
        if request:
            store_i64(request + REQUEST_IDLE, 1)
    elif request:
        store_i64(shared + ACTIVE, load_i64(shared + ACTIVE) + 1)
        store_i64(request + REQUEST_IDLE, 0)
    return request


@inline
def _tell_finished(shared):
    atomic_store(shared + FINISHED, load_i64(shared + FINISHED) + 1)
    sleeping.wake_all(shared)


def serve(args, thread, threads):
    """The life of a reading thread."""
    shared = argument(args, ReaderCall.SHARED)
    sleeping.lock(shared)
    while True:
        request = 0
        while request == 0 and load_i64(shared + STOPPED) == 0:
            request = _next_request(shared)
            if request == 0:
                sleeping.sleep_on(shared, shared + WORK)
        if load_i64(shared + STOPPED):
            break
        sleeping.unlock(shared)
        call_kernel(load_i64(shared + READ), request, 0, 1)
        sleeping.lock(shared)
        if load_i64(request + REQUEST_IDLE) == 0:
            active = load_i64(shared + ACTIVE) - 1
            store_i64(shared + ACTIVE, active)
            if active == 0 and load_i64(shared + IDLE_HEAD) != load_i64(shared + IDLE_TAIL):
                sleeping.wake_all_on(shared + WORK)
        _tell_finished(shared)
    sleeping.unlock(shared)


def post(args, thread, threads):
    """Append requests to one of the rings."""
    shared, count = argument(args, Post.SHARED), argument(args, Post.N_REQUESTS)
    ring, tail_at = shared + URGENT_RING, shared + URGENT_TAIL
    if argument(args, Post.IDLE):
        ring, tail_at = shared + IDLE_RING, shared + IDLE_TAIL
    sleeping.lock(shared)
    tail = load_i64(tail_at)
    for i in range(count):
        store_i64(ring + (tail + i) % RING_LENGTH * 8, load_i64(argument(args, Post.REQUESTS) + 8 * i))
    store_i64(tail_at, tail + count)
    sleeping.wake_all_on(shared + WORK)
    sleeping.unlock(shared)


def drop_idle(args, thread, threads):
    """Take back idle requests that have not been begun; their result becomes DROPPED."""
    shared = argument(args, ReaderCall.SHARED)
    sleeping.lock(shared)
    request = _take(shared + IDLE_RING, shared + IDLE_HEAD, shared + IDLE_TAIL)
    while request:
        atomic_store(request + REQUEST_RESULT, DROPPED)
        _tell_finished(shared)
        request = _take(shared + IDLE_RING, shared + IDLE_HEAD, shared + IDLE_TAIL)
    sleeping.unlock(shared)


def wait(args, thread, threads):
    """Sleep until another number than the given one of requests has finished."""
    shared = argument(args, Wait.SHARED)
    sleeping.lock(shared)
    while atomic_load(shared + FINISHED) == argument(args, Wait.N_FINISHED):
        sleeping.sleep(shared)
    sleeping.unlock(shared)


def stop(args, thread, threads):
    """Let the reading threads end when they have finished what they read."""
    shared = argument(args, ReaderCall.SHARED)
    sleeping.lock(shared)
    store_i64(shared + STOPPED, 1)
    sleeping.wake_all_on(shared + WORK)
    sleeping.unlock(shared)
