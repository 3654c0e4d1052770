"""Scalars at addresses, atomics, prefetch and the pauses of a waiting thread, for kernels."""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..jit import isa
from .conversions import bfloat_to_float, half_to_float
from .vectors import I16, I32, I64, call_llvm, first_lane, load_i16x1, load_value, splat_i16x1

inline = njit(forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For functions called from kernels: always merged into the caller's machine code.

Nobody calls them from Python or C; without the wrappers for that a kernel compiles in an eighth less time.
"""


def _make_load(numba_type: types.Type, llvm_type: Any, extend: bool = False) -> Any:
    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value = load_value(builder, args[0], llvm_type)
            return builder.zext(value, I64) if extend else value

        return numba_type(types.int64), codegen

    return load


def _make_store(numba_type: types.Type, llvm_type: Any) -> Any:
    @intrinsic
    def store(typing: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            instruction = builder.store(args[1], builder.inttoptr(args[0], llvm_type.as_pointer()))
            instruction.align = 1
            return context.get_dummy_value()

        return types.none(types.int64, numba_type), codegen

    return store


load_u8 = _make_load(types.uint8, ir.IntType(8))
load_i8 = _make_load(types.int8, ir.IntType(8))
load_u16 = _make_load(types.int64, I16, extend=True)
load_i16 = _make_load(types.int16, I16)
load_u32 = _make_load(types.int64, I32, extend=True)
load_i32 = _make_load(types.int32, I32)
load_i64 = _make_load(types.int64, I64)
load_f32 = _make_load(types.float32, ir.FloatType())
load_f64 = _make_load(types.float64, ir.DoubleType())
store_u8 = _make_store(types.uint8, ir.IntType(8))
store_i16 = _make_store(types.int16, I16)
store_i32 = _make_store(types.int32, I32)
store_i64 = _make_store(types.int64, I64)
store_f32 = _make_store(types.float32, ir.FloatType())


def _make_argument(numba_type: types.Type, llvm_type: Any) -> Any:
    @intrinsic
    def argument(typing: Any, args: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            address = builder.add(values[0], builder.mul(values[1], I64(8)))
            return load_value(builder, address, llvm_type)

        return numba_type(types.int64, types.int64), codegen

    return argument


argument = _make_argument(types.int64, I64)
"""`argument(args, i)`: entry `i` of a kernel's argument array."""
float_argument = _make_argument(types.float64, ir.DoubleType())
"""`float_argument(args, i)`: the same where the caller gave a float."""


@inline
def load_half(address):
    """A float16 at an address as float32."""
    return first_lane(half_to_float(load_i16x1(address)))


@inline
def half_of_bits(bits):
    """The float32 of a float16's bits."""
    return first_lane(half_to_float(splat_i16x1(bits)))


@inline
def load_bfloat(address):
    """A bfloat16 at an address as float32."""
    return first_lane(bfloat_to_float(load_i16x1(address)))


@intrinsic
def to_memory(typing: Any, v: Any) -> Any:
    """The address of a vector on the stack, to read its lanes as addresses or numbers one by one."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        slot = cgutils.alloca_once(builder, args[0].type)
        builder.store(args[0], slot).align = 64
        return opaque(builder, builder.ptrtoint(slot, I64))

    return types.int64(v), codegen


def opaque(builder: Any, address: Any) -> Any:
    """The same address, which the code generator must take for another."""
    kind = ir.FunctionType(I64, [I64])
    return builder.call(ir.InlineAsm(kind, "", "=r,0,~{memory}", side_effect=True), [address])


@intrinsic
def some_number(typing: Any, n: Any) -> Any:
    """The same number, which the code generator must take for any: it unrolls no loop over so many."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(I64, [I64])
        return builder.call(ir.InlineAsm(kind, "", "=r,0", side_effect=False), [args[0]])

    return types.int64(types.int64), codegen


@intrinsic
def atomic_add(typing: Any, address: Any, value: Any) -> Any:
    """Add to an int64 in memory; gives what was there before."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", builder.inttoptr(args[0], I64.as_pointer()), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def atomic_load(typing: Any, address: Any) -> Any:
    """Read an int64 so that what its writer wrote before it is seen after."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def atomic_store(typing: Any, address: Any, value: Any) -> Any:
    """Write an int64 after everything written before it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store_atomic(args[1], builder.inttoptr(args[0], I64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address; harmless where nothing is mapped."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, I32(0), I32(3), I32(1)])
        return context.get_dummy_value()

    return types.none(types.int64), codegen


@inline
def copy_bytes(target, source, count):
    """Copy `count` bytes."""
    for i in range(count):
        store_u8(target + i, load_u8(source + i))


@inline
def zero_bytes(target, count):
    """Set `count` bytes to 0."""
    for i in range(count):
        store_u8(target + i, 0)


@intrinsic
def spin_pause(typing: Any) -> Any:
    """Tell the core that this thread is waiting in a loop."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if isa.current().is_x86:
            call_llvm(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        elif isa.current().is_arm:
            call_llvm(builder, "llvm.aarch64.hint", ir.VoidType(), [I32(1)])
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def yield_thread(typing: Any) -> Any:
    """Give the rest of this thread's time slice to others."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        call_llvm(builder, name, I32, [])
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def call_kernel(typing: Any, address: Any, args: Any, thread: Any, threads: Any) -> Any:
    """Call a kernel (see `glmq_kernels.jit.store`) at an address."""

    def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        signature = ir.FunctionType(ir.VoidType(), [I64, I64, I64])
        builder.call(builder.inttoptr(values[0], signature.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64, types.int64), codegen


def _make_call(count: int) -> Any:
    @intrinsic
    def call(
        typing: Any, address: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            signature = ir.FunctionType(ir.VoidType(), [I64] * count)
            builder.call(builder.inttoptr(values[0], signature.as_pointer()), values[1 : count + 1])
            return context.get_dummy_value()

        return types.none(*[types.int64] * 9), codegen

    return call


_call_6, _call_7, call_8 = _make_call(6), _make_call(7), _make_call(8)


@inline
def call_6(address, a, b, c, d, e, f):
    """Call a kernel of six arguments at an address."""
    _call_6(address, a, b, c, d, e, f, 0, 0)


@inline
def call_7(address, a, b, c, d, e, f, g):
    """Call a kernel of seven arguments at an address."""
    _call_7(address, a, b, c, d, e, f, g, 0)
