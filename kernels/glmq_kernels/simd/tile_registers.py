"""AMX: eight registers of 16 rows of 64 bytes each, and products of two of them in bfloat16.

    register   0 1 2 3    sums, float32 (16 rows of a, 16 columns of b)
               4 5        b, bfloat16: row k holds columns' numbers 2k and 2k + 1, side by side
               6 7        a, bfloat16 (16 rows, 32)

A thread says with `configure_tiles` that it uses them all, and frees them again, so that the system need not
save them. Rows lie 64 bytes apart in memory. Numbers that are no normal ones count as 0.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .vectors import I64, constant, i8x64, store_value

TILE_ROWS = 16
TILE_BYTES = 1024
SUMS, SECOND, FIRST = (0, 1, 2, 3), (4, 5), (6, 7)
"""Numbers of the registers for sums, for b and for a."""

_CONFIGURATION = bytes([1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[TILE_ROWS] * 8, *[0] * 8])
"""Palette 1; from byte 16 on bytes of a row, from byte 48 on rows of each register."""


def _assembly(builder: Any, lines: Sequence[str], *addresses: Any) -> None:
    """Machine code that reads and writes memory at some addresses; the last operand is a row's distance."""
    operands = [*addresses, I64(64)]
    signature = ir.FunctionType(ir.VoidType(), [I64] * len(operands))
    constraints = ",".join(["r"] * len(operands) + ["~{memory}"])
    builder.call(ir.InlineAsm(signature, "\n".join(lines), constraints, side_effect=True), operands)


def _sum_places(n_first: int) -> list[int]:
    """Offsets of sums in memory: those with one register a behind those with the one before."""
    return [TILE_BYTES * i for i in range(2 * n_first)]


@intrinsic
def configure_tiles(typing: Any, spare: Any) -> Any:
    """Use the registers from now on; spare: 64 bytes that are overwritten."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        store_value(builder, args[0], constant(i8x64, list(_CONFIGURATION)))
        _assembly(builder, ["ldtilecfg ($0)"], args[0])
        return context.get_dummy_value()

    return types.none(types.int64), codegen


@intrinsic
def release_tiles(typing: Any) -> Any:
    """Use the registers no more."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _assembly(builder, ["tilerelease"])
        return context.get_dummy_value()

    return types.none(), codegen


def make_tile_sums(n_first: int) -> tuple[Any, Any, Any]:
    """`zero()`, `load(address)` and `save(address)` of the sums of one or two registers a with both b.

    In memory float32 [a][b][16][16].
    """
    places = list(zip(SUMS, _sum_places(n_first), strict=False))

    def make(lines: Sequence[str], with_address: bool) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _assembly(builder, lines, *args)
            return context.get_dummy_value()

        if with_address:
            return intrinsic(lambda typing, address: (types.none(types.int64), codegen))
        return intrinsic(lambda typing: (types.none(), codegen))

    return (
        make([f"tilezero %tmm{i}" for i, _ in places], False),
        make([f"tileloadd {at}($0,$1,1), %tmm{i}" for i, at in places], True),
        make([f"tilestored %tmm{i}, {at}($0,$1,1)" for i, at in places], True),
    )


def make_tile_step(n_first: int) -> Any:
    """`step(a_0, a_1, b)`: adds products of 32 columns to the sums; with one register a, a_1 is not read."""
    lines = [f"tileloadd {TILE_BYTES * i}($2,$3,1), %tmm{number}" for i, number in enumerate(SECOND)]
    for a in range(n_first):
        lines.append(f"tileloadd (${a},$3,1), %tmm{FIRST[a]}")
        lines += [f"tdpbf16ps %tmm{b}, %tmm{FIRST[a]}, %tmm{SUMS[2 * a + i]}" for i, b in enumerate(SECOND)]

    @intrinsic
    def step(typing: Any, a_0: Any, a_1: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _assembly(builder, lines, *args)
            return context.get_dummy_value()

        return types.none(types.int64, types.int64, types.int64), codegen

    return step
