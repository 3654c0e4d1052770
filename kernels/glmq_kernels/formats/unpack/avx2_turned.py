"""256 weights *turned* (`turned.py`) for registers of 32 bytes: the eight blocks are the eight lanes.

    vector 4 h + j, lane b, byte k     column 32 b + 16 h + 4 j + k

So eight products leave the sum of a block in each lane, to be scaled at once. What 16 columns of a block are
made of is loaded beside the same of the fourth block behind it, and four such vectors change words within
their halves; formats that keep several weights in a byte turn these bytes and take them apart later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from ...simd.addresses import inline, load_u32
from ...simd.vectors import (
    bitcast_i8x32,
    bitcast_i16x16,
    bitcast_i32x8,
    high_half_i8x64,
    i8x32,
    i16x16,
    join_i8x16,
    load_i8x16,
    low_half_i8x64,
    make_constant,
    make_shuffle,
    splat_i8x32,
    splat_i32x8,
)
from .turned import turn_halves, turn_weights


@dataclass(frozen=True)
class NibbleStages:
    """Weights of four bits on their way, so that a unit's bytes can be read while another is multiplied.

    load(p)        four i8x32 as they are read
    turn(loaded)   four i8x32, two weights in each byte
    split(v)       the weights of one of these, two i8x32
    places         of these among the eight that are drawn above, for each of the four
    """

    load: Callable[[Any], Any]
    turn: Callable[[Any], Any]
    split: Callable[[Any], Any]
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Avx2Turned:
    """How 256 weights of a tensor type are turned.

    weights(p)     eight i8x32, as drawn above
    scales         None, or scales(p) -> scales and minima of the eight blocks (f32x8; without minima the
                   scales stand in their place), where that is faster than what `unpack` does
    words          of formats with groups of 16: None, or words(p) -> scales and minima of the groups
                   (i16x16), and what they are multiples of (float32)
    stages         None, or how `weights` comes about, for products that read ahead
    halves         None, or for the same two functions of p that give four of `weights` each
    two_ahead      whether two tokens too meet weights that are read ahead, where one does: measured
    offset, largest
                   where they are not those of the type: a weight is scale * (u - offset), and the largest u
    times          None, or how many times as large as u what `weights` gives is for each of the eight blocks
    """

    weights: Callable[[Any], Any]
    scales: Any = None
    words: Any = None
    stages: NibbleStages | None = None
    halves: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None
    two_ahead: bool = True
    offset: float | None = None
    largest: int | None = None
    times: tuple[int, ...] | None = None


def turned_of(kind: Any) -> Avx2Turned:
    """How a tensor type's weights are turned; made of its `unpack` where it does not say."""
    return getattr(kind, "avx2_turned", None) or Avx2Turned(_make_weights(kind))


def offset_of(kind: Any) -> float:
    """What is subtracted from u of a tensor type's turned weights."""
    found = turned_of(kind).offset
    return float(kind.OFFSET if found is None else found)


def largest_of(kind: Any) -> int:
    """The largest byte of a tensor type's turned weights."""
    turned = turned_of(kind)
    return max(turned.times or (1,)) * (turned.largest or int(kind.CENTER + kind.LARGEST))


def make_weights_of_stages(stages: NibbleStages) -> Any:
    """`weights` by way of stages."""
    load, turn, split = stages.load, stages.turn, stages.split
    in_pairs = stages.places[0] == (0, 1)

    @inline
    def weights(p):
        a, b, c, d = turn(load(p))
        (a, e), (b, f), (c, g), (d, h) = split(a), split(b), split(c), split(d)
        return (a, e, b, f, c, g, d, h) if in_pairs else (a, b, c, d, e, f, g, h)

    return weights


def turned_by_stages(stages: NibbleStages, scales: Any = None) -> Avx2Turned:
    """Weights that are turned in stages."""
    return Avx2Turned(make_weights_of_stages(stages), scales, stages=stages)


def turned_by_halves(first: Any, last: Any, **more: Any) -> Avx2Turned:
    """Weights whose first four vectors, of the first halves of all blocks, and last four are made apart."""

    @inline
    def weights(p):
        return first(p) + last(p)

    return Avx2Turned(weights, halves=(first, last), **more)


def _make_weights(kind: Any) -> Any:
    unpack = kind.unpack

    @inline
    def weights(p):
        a, b, c, d = turn_weights(unpack(p)[0])
        first = low_half_i8x64(a, a), low_half_i8x64(b, b), low_half_i8x64(c, c), low_half_i8x64(d, d)
        last = high_half_i8x64(a, a), high_half_i8x64(b, b), high_half_i8x64(c, c), high_half_i8x64(d, d)
        return first + last

    return weights


@inline
def load_two(p, q):
    """16 bytes of each of two addresses."""
    return join_i8x16(load_i8x16(p), load_i8x16(q))


def make_bits(shift: int, mask: int) -> Any:
    """`bits(v)`: bytes shifted right (left where `shift` is negative), and masked."""
    count = make_constant(i16x16, [abs(shift)] * 16)

    @inline
    def to_right(v):
        return bitcast_i8x32(bitcast_i16x16(v) >> count()) & splat_i8x32(mask)

    @inline
    def to_left(v):
        return bitcast_i8x32(bitcast_i16x16(v) << count()) & splat_i8x32(mask)

    @inline
    def as_they_are(v):
        return v & splat_i8x32(mask)

    return to_right if shift > 0 else to_left if shift < 0 else as_they_are


low_nibbles, high_nibbles = make_bits(0, 15), make_bits(4, 15)


def make_load_halves(size: int, at: int) -> Any:
    """`load(p)`: 16 bytes at `at` of eight blocks of `size` bytes, turned: four vectors."""
    stages = stages_of_blocks(size, at)
    load, turn = stages.load, stages.turn

    @inline
    def load_turned(p):
        return turn(load(p))

    return load_turned


@inline
def _low_and_high(v):
    return low_nibbles(v), high_nibbles(v)


def stages_of_blocks(size: int, at: int, values: Any = None) -> NibbleStages:
    """Of blocks of `size` bytes with 16 bytes at `at`: low nibbles first, then high ones.

    values: what the weights are for nibbles, byte by byte, where they are not the nibbles.
    """

    @inline
    def load(p):
        return (
            load_two(p + at, p + at + 4 * size),
            load_two(p + at + size, p + at + 5 * size),
            load_two(p + at + 2 * size, p + at + 6 * size),
            load_two(p + at + 3 * size, p + at + 7 * size),
        )

    @inline
    def turn(loaded):
        return turn_halves(loaded[0], loaded[1], loaded[2], loaded[3])

    @inline
    def split_to_values(v):
        return values(low_nibbles(v)), values(high_nibbles(v))

    split = split_to_values if values else _low_and_high
    return NibbleStages(load, turn, split, ((0, 4), (1, 5), (2, 6), (3, 7)))


def make_bytes(size: int, at: int, flipped: int) -> tuple[Any, Any]:
    """Both halves of blocks of `size` bytes with 32 bytes at `at`, some of whose bits are flipped."""

    def half(at: int) -> Any:
        load = make_load_halves(size, at)

        @inline
        def flip(p):
            vectors, mask = load(p), splat_i8x32(flipped)
            return vectors[0] ^ mask, vectors[1] ^ mask, vectors[2] ^ mask, vectors[3] ^ mask

        return flip if flipped else load

    return half(at), half(at + 16)


def _by_turns(order: tuple[int, ...]) -> Any:
    """Words of two vectors by turns, half by half."""
    words = [8 * (n // 4) + 4 * h + n % 4 for h in range(2) for n in order]
    return make_shuffle([4 * word + k for word in words for k in range(4)])


first_by_turns, last_by_turns = _by_turns((0, 4, 1, 5)), _by_turns((2, 6, 3, 7))


@inline
def _turn_half(a, b):
    return first_by_turns(a, b), last_by_turns(a, b)


@inline
def _turn_runs(loaded):
    return _turn_half(loaded[0], loaded[1]) + _turn_half(loaded[2], loaded[3])


@inline
def _two_of_four(words):
    low, high = low_nibbles(words), high_nibbles(words)
    return first_by_turns(low, high), last_by_turns(low, high)


def stages_of_runs(at: int) -> NibbleStages:
    """Of four runs of 32 bytes at `at`: low nibbles are a block, high ones the next."""

    @inline
    def half(p):
        return load_two(p, p + 64), load_two(p + 32, p + 96)

    @inline
    def load(p):
        return half(p + at) + half(p + at + 16)

    return NibbleStages(load, _turn_runs, _two_of_four, ((0, 1), (2, 3), (4, 5), (6, 7)))


def make_half_of_runs(at: int) -> Any:
    """`half(p)`: of four runs of 32 bytes the 16 at `at`; low nibbles are a block, high ones the next."""

    @inline
    def half(p):
        a, b = _turn_half(load_two(p + at, p + at + 64), load_two(p + at + 32, p + at + 96))
        return _two_of_four(a) + _two_of_four(b)

    return half


TIMES_OF_RUNS = (1, 4) * 4
"""How many times as large weights of two-bit runs are than they should be, in each lane."""

run_masks = make_constant(i8x32, [3 * times for times in TIMES_OF_RUNS for _ in range(4)])
four_of_words = make_constant(i16x16, [4] * 16)


def _make_runs_of_word(j: int) -> Any:
    """`runs(v, shifted)`: word j of either half four times, the last two out of `shifted`, and masked."""
    words = [4 * h + j + 8 * (place // 2) for h in range(2) for place in range(4)]
    pick = make_shuffle(words)

    @inline
    def runs(v, shifted):
        return bitcast_i8x32(pick(v, shifted)) & run_masks()

    return runs


runs_0, runs_1, runs_2, runs_3 = (_make_runs_of_word(j) for j in range(4))


def make_half_of_two_bits(at: int) -> Any:
    """`half(p)`: of two times four runs of 32 weights, 32 bytes each, all of the 16 bytes at `at`.

    A run is two bits higher than the one before it; the first and third are where they should be when all
    are taken once as they are and once four bits lower, the others two bits above.
    """

    @inline
    def half(p):
        both = load_two(p + at, p + at + 32)
        v, shifted = bitcast_i32x8(both), bitcast_i32x8(bitcast_i16x16(both) >> four_of_words())
        return runs_0(v, shifted), runs_1(v, shifted), runs_2(v, shifted), runs_3(v, shifted)

    return half


def make_where_set(bits: Sequence[int], values: Sequence[int]) -> Any:
    """`where_set(v)`: values[i] where byte i has bits[i], else 0."""

    @intrinsic
    def where_set(typing: Any, v: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            mask = ir.Constant(v.llvm, list(bits))
            is_set = builder.icmp_unsigned("==", builder.and_(args[0], mask), mask)
            return builder.and_(builder.sext(is_set, v.llvm), ir.Constant(v.llvm, list(values)))

        return v(v), codegen

    return where_set


def make_bit_of_each_block(at: int, values: Sequence[int]) -> Any:
    """`add(p, weights)`: values[b] more for block b in four vectors, where their bytes have bit b.

    These are 16 bytes at `at`.
    """
    of_lanes = [value for value in values for _ in range(4)]
    where_set = make_where_set([1 << lane for lane in range(8) for _ in range(4)], of_lanes)

    @inline
    def more(p):
        return where_set(bitcast_i8x32(splat_i32x8(load_u32(p + at))))

    @inline
    def add(p, w):
        return w[0] | more(p), w[1] | more(p + 4), w[2] | more(p + 8), w[3] | more(p + 12)

    return add


def make_five_bits(size: int, bits_at: int, at: int) -> Any:
    """`weights` of blocks of `size` bytes: 16 bytes of nibbles at `at`, 32 fifth bits at `bits_at`."""
    load_bits, nibbles = make_load_halves(size, bits_at), make_weights_of_stages(stages_of_blocks(size, at))
    byte_0, byte_1, byte_2, byte_3 = (
        make_shuffle([4 * lane + byte for lane in range(8) for _ in range(4)]) for byte in range(4)
    )
    even, odd = (
        make_where_set([1 << bit + k for _ in range(8) for k in range(4)], [16] * 32) for bit in (0, 4)
    )

    @inline
    def weights(p):
        bits = load_bits(p)[0]
        b0, b1, b2, b3 = byte_0(bits, bits), byte_1(bits, bits), byte_2(bits, bits), byte_3(bits, bits)
        w = nibbles(p)
        first = w[0] | even(b0), w[1] | odd(b0), w[2] | even(b1), w[3] | odd(b1)
        return (*first, w[4] | even(b2), w[5] | odd(b2), w[6] | even(b3), w[7] | odd(b3))

    return weights
