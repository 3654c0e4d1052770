"""256 weights *turned* (`turned.py`) in registers of 64 bytes: from where they lie straight into their lanes.

A lane has four columns of one half of a block, whose bits lie in four bytes of memory beside each other. One
shuffle brings these bytes to each of the 16 lanes, and one shift the bits of each lane to their place:

    lane 8 h + b     bytes of columns 32 b + 16 h + 4 j ..     shifted as block b, or half h, wants

Where these four bytes are whole words of 32 bits in two registers, as in the K types, that is a shuffle of
words. In blocks of other sizes they are not, and a shuffle of bytes picks them (VBMI).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...jit import isa
from ...simd.addresses import inline
from ...simd.conversions import half_to_float
from ...simd.vectors import (
    bitcast_i8x64,
    bitcast_i16x32,
    call_llvm,
    i8x64,
    i16x32,
    i32x16,
    load_i16x32,
    load_i32x16,
    make_constant,
    make_shuffle,
    splat_i8x64,
)

LANES = [(h, b) for h in range(2) for b in range(8)]
"""Half and block of each lane."""

Word = Callable[[int], int]
"""Where the bytes of a block's first four columns are, as a word of 32 bits; those of its others follow."""


def turns_in_lanes() -> bool:
    """Whether this processor has the shuffles of words."""
    return isa.current().shuffle == "avx512"


def picks_bytes() -> bool:
    """Whether it has the shuffle of bytes."""
    return isa.current().bit_shuffle


def make_pick_words(word: Word) -> Any:
    """`pick(a, b) -> 4 vectors (i32x16)`: words of a register, 0 to 15, and of another, 16 to 31."""
    picks = [make_shuffle([word(b) + 4 * h + j for h, b in LANES]) for j in range(4)]
    pick_0, pick_1, pick_2, pick_3 = picks

    @inline
    def pick(a, b):
        return pick_0(a, b), pick_1(a, b), pick_2(a, b), pick_3(a, b)

    return pick


def make_nibble_words(at: int, word: Word, shift: Word) -> Any:
    """`nibbles(p)`: u of four bits in the 128 bytes at `at`. shift: of a block's bits in their bytes."""
    pick, shifts = make_pick_words(word), make_constant(i32x16, [shift(b) for _, b in LANES])

    @inline
    def nibbles_of(v):
        return bitcast_i8x64(v >> shifts()) & splat_i8x64(15)

    @inline
    def nibbles(p):
        a, b, c, d = pick(load_i32x16(p + at), load_i32x16(p + at + 64))
        return nibbles_of(a), nibbles_of(b), nibbles_of(c), nibbles_of(d)

    return nibbles


def make_top_words(word: Word, shift: Word, mask: int) -> Any:
    """`add_top(v, low)`: low with bits from words of v (i32x16) on top, where the mask has them.

    shift: to the right, of a block's bits to their place; negative ones to the left.
    """
    pick, turn = make_pick_words(word), _make_rotate([shift(b) for _, b in LANES])

    @inline
    def top(v):
        return bitcast_i8x64(turn(v)) & splat_i8x64(mask)

    @inline
    def add_top(v, low):
        a, b, c, d = pick(v, v)
        return low[0] | top(a), low[1] | top(b), low[2] | top(c), low[3] | top(d)

    return add_top


def _make_rotate(counts: list[int]) -> Any:
    """`rotate(v)` (i32x16): each lane by a count of its own, to the right."""

    @intrinsic
    def rotate(typing: Any, v: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            amounts = ir.Constant(i32x16.llvm, [count % 32 for count in counts])
            return call_llvm(builder, "llvm.fshr.v16i32", i32x16.llvm, [args[0], args[0], amounts])

        return i32x16(v), codegen

    return rotate


def make_nibble_bytes(size: int, at: int, values: Any = None) -> Any:
    """`turned(p)` of 8 blocks of `size` bytes with 16 bytes at `at`: low nibbles first, then high ones.

    values: what u is for a nibble, lane by lane, where it is not the nibble.
    """
    picks = [_make_pick_bytes(size, at, j) for j in range(4)]
    pick_0, pick_1, pick_2, pick_3 = picks
    shifts = make_constant(i16x32, [4 * h for h, _ in LANES for _ in range(2)])

    @inline
    def nibbles(v):
        u = bitcast_i8x64(bitcast_i16x32(v) >> shifts()) & splat_i8x64(15)
        return u if values is None else values(u)

    @inline
    def turned(p):
        return nibbles(pick_0(p)), nibbles(pick_1(p)), nibbles(pick_2(p)), nibbles(pick_3(p))

    return turned


def _make_pick_bytes(size: int, at: int, j: int) -> Any:
    """`pick(p)`: bytes 4 j to 4 j + 3 of each block, in both halves, out of as many loads as hold them."""
    most = (64 - 8) // size + 1
    loads = []
    for first in range(0, 8, most):
        start = min(size * first + at + 8 * (j // 2), 8 * size - 64)
        places = {b: size * b + at + 4 * j - start for b in range(first, min(first + most, 8))}
        loads.append((start, places))

    @intrinsic
    def pick(typing: Any, p: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            found = None
            for start, places in loads:
                number = ir.IntType(64)
                pointer = builder.inttoptr(builder.add(args[0], number(start)), i8x64.llvm.as_pointer())
                loaded = builder.load(pointer, align=1)
                wanted = [places[b] + k if b in places else -1 for _, b in LANES for k in range(4)]
                order = ir.Constant(i8x64.llvm, [max(place, 0) for place in wanted])
                name = "llvm.x86.avx512.permvar.qi.512"
                here = call_llvm(builder, name, i8x64.llvm, [loaded, order])
                mask = ir.Constant(ir.VectorType(ir.IntType(1), 64), [int(place >= 0) for place in wanted])
                found = here if found is None else builder.select(mask, here, found)
            return found

        return i8x64(types.int64), codegen

    return pick


def make_scales_of_blocks(size: int, at: int) -> Any:
    """`scales(p)`: the float16 at `at` of each of 8 blocks, of up to 20 bytes: a register reaches four."""
    words = [(size * b + at) // 2 for b in range(4)]
    pick = make_shuffle(words + [32 + word for word in words])

    @inline
    def scales(p):
        return half_to_float(pick(load_i16x32(p), load_i16x32(p + 4 * size)))

    return scales
