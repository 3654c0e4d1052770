"""SIMD vectors for Numba: types, loads, stores, arithmetic, shuffles.

A vector here is an LLVM vector of any width; the code generator splits the wide ones where the CPU's
registers are narrower, so kernels are written once, mostly in vectors of 64 bytes. What needs an
instruction of its own on some CPU (the int8 dot product) is in `dot.py`, what changes the lanes' type in
`conversions.py`.

Operators `+ - * & | ^ << >>` work lane by lane on vectors of one type; `>>` is a logical shift.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.extending import intrinsic, models, register_model, type_callable

from ..jit import isa

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
ELEMENTS = {"i8": I8, "i16": I16, "i32": I32, "i64": I64, "f16": ir.HalfType(), "f32": ir.FloatType()}


class Vector(types.Type):
    """The Numba type of an LLVM vector: `lanes` elements of type `element`."""

    def __init__(self, element: str, lanes: int) -> None:
        self.element = element
        self.lanes = lanes
        self.llvm = ir.VectorType(ELEMENTS[element], lanes)
        super().__init__(name=f"{element}x{lanes}")

    @property
    def is_float(self) -> bool:
        """Whether the elements are floats."""
        return self.element[0] == "f"


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A vector is its LLVM value."""

    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


i8x8, i8x16, i8x32, i8x64 = (Vector("i8", lanes) for lanes in (8, 16, 32, 64))
i16x1, i16x8, i16x16, i16x32 = Vector("i16", 1), Vector("i16", 8), Vector("i16", 16), Vector("i16", 32)
i32x4, i32x8, i32x16 = Vector("i32", 4), Vector("i32", 8), Vector("i32", 16)
i64x4, i64x8 = Vector("i64", 4), Vector("i64", 8)
f16x8, f16x16 = Vector("f16", 8), Vector("f16", 16)
f32x4, f32x8, f32x16 = Vector("f32", 4), Vector("f32", 8), Vector("f32", 16)


def constant(kind: Vector, values: Sequence[int | float]) -> ir.Constant:
    """An LLVM constant vector."""
    return ir.Constant(kind.llvm, list(values))


def shuffle_value(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """LLVM's shuffle of two vectors by constant lane numbers."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def call_llvm(builder: Any, name: str, result: Any, arguments: Sequence[Any], **flags: Any) -> Any:
    """A call of an LLVM intrinsic or an external C function."""
    if isa.current().triple and name.startswith("llvm.aarch64."):
        # Numba makes code for this machine on its way, to which the name must be that of some function.
        name = isa.FOREIGN_PREFIX + name
        llvm.add_symbol(name, 1)
    signature = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(
        cgutils.get_or_insert_function(builder.module, signature, name), list(arguments), **flags
    )


def splat_value(builder: Any, kind: Vector, scalar: Any) -> Any:
    """A vector with `scalar` in every lane."""
    first = builder.insert_element(ir.Constant(kind.llvm, ir.Undefined), scalar, I32(0))
    return shuffle_value(builder, first, first, [0] * kind.lanes)


def load_value(builder: Any, address: Any, llvm_type: Any, align: int = 1) -> Any:
    """A load from an integer address."""
    value = builder.load(builder.inttoptr(address, llvm_type.as_pointer()))
    value.align = align
    return value


def store_value(builder: Any, address: Any, value: Any) -> None:
    """A store to an integer address."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def _binary(op: Any, on_float: str | None, on_int: str) -> None:
    @type_callable(op)
    def typing(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            if isinstance(a, Vector) and a == b and (on_float or not a.is_float):
                return a
            return None

        return typer

    @lower_builtin(op, Vector, Vector)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        instruction = on_float if sig.return_type.is_float else on_int
        return getattr(builder, instruction)(*args)


_binary(operator.add, "fadd", "add")
_binary(operator.sub, "fsub", "sub")
_binary(operator.mul, "fmul", "mul")
_binary(operator.and_, None, "and_")
_binary(operator.or_, None, "or_")
_binary(operator.xor, None, "xor")
_binary(operator.lshift, None, "shl")
_binary(operator.rshift, None, "lshr")


def make_load(kind: Vector) -> Any:
    """`load(address) -> kind`, from any alignment."""

    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return load_value(builder, args[0], kind.llvm)

        return kind(types.int64), codegen

    return load


def make_splat(kind: Vector, scalar: types.Type) -> Any:
    """`splat(scalar) -> kind` with the scalar in every lane."""

    @intrinsic
    def splat(typing: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value = args[0]
            if not kind.is_float and value.type.width > kind.llvm.element.width:
                value = builder.trunc(value, kind.llvm.element)
            return splat_value(builder, kind, value)

        return kind(scalar), codegen

    return splat


def make_constant(kind: Vector, values: Sequence[int | float]) -> Any:
    """`constant() -> kind` with fixed lane values."""

    @intrinsic
    def value(typing: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return constant(kind, values)

        return kind(), codegen

    return value


def make_shuffle(lanes: Sequence[int]) -> Any:
    """`shuffle(a, b)`: lane numbers 0 to n-1 take from `a`, n to 2n-1 from `b`."""

    @intrinsic
    def shuffle(typing: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return shuffle_value(builder, args[0], args[1], lanes)

        return Vector(a.element, len(lanes))(a, b), codegen

    return shuffle


def make_bitcast(kind: Vector) -> Any:
    """`bitcast(v) -> kind`: the same bits seen as another type."""

    @intrinsic
    def bitcast(typing: Any, v: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.bitcast(args[0], kind.llvm)

        return kind(v), codegen

    return bitcast


load_i8x8, load_i8x16 = make_load(i8x8), make_load(i8x16)
load_i8x32, load_i8x64 = make_load(i8x32), make_load(i8x64)
load_i16x1, load_i16x8, load_i16x16, load_i16x32 = (
    make_load(i16x1),
    make_load(i16x8),
    make_load(i16x16),
    make_load(i16x32),
)
load_i32x8, load_i32x16, load_i64x8 = make_load(i32x8), make_load(i32x16), make_load(i64x8)
load_f32x4, load_f32x8, load_f32x16 = make_load(f32x4), make_load(f32x8), make_load(f32x16)
splat_f32x8, splat_f32x16 = make_splat(f32x8, types.float32), make_splat(f32x16, types.float32)
splat_i8x16, splat_i8x32, splat_i8x64 = (
    make_splat(i8x16, types.int64),
    make_splat(i8x32, types.int64),
    make_splat(i8x64, types.int64),
)
splat_i16x1 = make_splat(i16x1, types.int64)
splat_i16x8, splat_i16x16, splat_i16x32 = (
    make_splat(i16x8, types.int64),
    make_splat(i16x16, types.int64),
    make_splat(i16x32, types.int64),
)
splat_i32x4, splat_i32x8, splat_i32x16 = (
    make_splat(i32x4, types.int64),
    make_splat(i32x8, types.int64),
    make_splat(i32x16, types.int64),
)
splat_i64x4 = make_splat(i64x4, types.int64)
zero_f32x8, zero_f32x16 = make_constant(f32x8, [0.0] * 8), make_constant(f32x16, [0.0] * 16)
zero_i64x8 = make_constant(i64x8, [0] * 8)
zero_i32x8, zero_i32x16 = make_constant(i32x8, [0] * 8), make_constant(i32x16, [0] * 16)
bitcast_i8x16, bitcast_i8x32, bitcast_i8x64 = make_bitcast(i8x16), make_bitcast(i8x32), make_bitcast(i8x64)
bitcast_i16x8, bitcast_i16x16, bitcast_i16x32 = (
    make_bitcast(i16x8),
    make_bitcast(i16x16),
    make_bitcast(i16x32),
)
bitcast_i32x8, bitcast_i32x16 = make_bitcast(i32x8), make_bitcast(i32x16)
bitcast_f32x16 = make_bitcast(f32x16)
low_half_i8x64 = make_shuffle(range(32))
high_half_i8x64 = make_shuffle(range(32, 64))
join_i8x16 = make_shuffle(range(32))
join_i8x32 = make_shuffle(range(64))
join_f32x8 = join_i32x8 = make_shuffle(range(16))


@intrinsic
def store(typing: Any, address: Any, v: Any) -> Any:
    """Store a vector at any alignment."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        instruction = builder.store(args[1], builder.inttoptr(args[0], args[1].type.as_pointer()))
        instruction.align = 1
        return context.get_dummy_value()

    return types.none(types.int64, v), codegen


@intrinsic
def store_lanes(typing: Any, address: Any, v: Any, stride: Any) -> Any:
    """Store each lane by itself, `stride` bytes apart."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for i in range(v.lanes):
            at = builder.add(args[0], builder.mul(args[2], I64(i)))
            lane = builder.extract_element(args[1], I32(i))
            store_value(builder, at, lane)
        return context.get_dummy_value()

    return types.none(types.int64, v, types.int64), codegen


@intrinsic
def keep_lanes(typing: Any, v: Any, count: Any, other: Any) -> Any:
    """The first `count` lanes of `v`, the rest from `other`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane_numbers = ir.Constant(ir.VectorType(I32, v.lanes), list(range(v.lanes)))
        limit = splat_value(builder, Vector("i32", v.lanes), builder.trunc(args[1], I32))
        return builder.select(builder.icmp_signed("<", lane_numbers, limit), args[0], args[2])

    return v(v, types.int64, v), codegen


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """`a * b + c`: fused where the CPU has the instruction, two roundings elsewhere."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.return_type
        name = "fma" if isa.current().half else "fmuladd"
        return call_llvm(builder, f"llvm.{name}.v{kind.lanes}{kind.element}", kind.llvm, args)

    return a(a, b, c), codegen


@intrinsic
def divide(typing: Any, a: Any, b: Any) -> Any:
    """`a / b` lane by lane (float32)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fdiv(*args)

    return a(a, b), codegen


@intrinsic
def square_root(typing: Any, v: Any) -> Any:
    """The square root of each lane (float32)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.sqrt.v{v.lanes}{v.element}", v.llvm, args)

    return v(v), codegen


@intrinsic
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """The larger of each pair of lanes (float32); b where one is NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, b), codegen


@intrinsic
def minimum(typing: Any, a: Any, b: Any) -> Any:
    """The smaller of each pair of lanes (float32); b where one is NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return a(a, b), codegen


@intrinsic
def sum_lanes(typing: Any, v: Any) -> Any:
    """The sum of all lanes: float32 in tree order, or int32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        name = f"v{v.lanes}{v.element}"
        if v.is_float:
            arguments = [ir.Constant(v.llvm.element, 0.0), args[0]]
            return call_llvm(
                builder, f"llvm.vector.reduce.fadd.{name}", v.llvm.element, arguments, fastmath=("reassoc",)
            )
        return call_llvm(builder, f"llvm.vector.reduce.add.{name}", v.llvm.element, args)

    return (types.float32 if v.is_float else types.int32)(v), codegen


@intrinsic
def max_lane(typing: Any, v: Any) -> Any:
    """The largest lane (float32). With NaN among them it is any lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        found = args[0]
        while (n := found.type.count // 2) > 0:
            low, high = (shuffle_value(builder, found, found, range(i, i + n)) for i in (0, n))
            found = builder.select(builder.fcmp_ordered(">", low, high), low, high)
        return builder.extract_element(found, I32(0))

    return types.float32(v), codegen


@intrinsic
def largest_magnitude(typing: Any, a: Any, b: Any) -> Any:
    """The largest magnitude of the lanes of two vectors (float32); NaN where one of them is NaN.

    Magnitudes are compared as integers: their bits are in the order of the numbers, NaN being the highest.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = Vector("i32", a.lanes).llvm
        mask = ir.Constant(wide, [0x7FFFFFFF] * a.lanes)
        low, high = (builder.and_(builder.bitcast(each, wide), mask) for each in args)
        larger = builder.select(builder.icmp_signed(">", low, high), low, high)
        found = call_llvm(builder, f"llvm.vector.reduce.smax.v{a.lanes}i32", I32, [larger])
        return builder.bitcast(found, ir.FloatType())

    return types.float32(a, a), codegen


@intrinsic
def first_lane(typing: Any, v: Any) -> Any:
    """Lane 0 of a float32 vector."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], I32(0))

    return types.float32(v), codegen


@intrinsic
def first_word(typing: Any, v: Any) -> Any:
    """Lane 0 of an int16 vector."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], I32(0))

    return types.int16(v), codegen
