"""Panels times tiles (`gemm.py`) in 16 registers of 32 bytes: AVX2 and AVX-VNNI.

A *panel* holds 16 weight rows, for each block of 32 columns

    8 x 64 bytes   weights u, unsigned: vector j holds columns 4j..4j+3 of each row
    then for each group of `group` columns
    64 bytes       scale, float32 per row
    64 bytes       minimum, float32 per row (formats with a minimum only)

32 rows, four registers of weights, meet two tokens, whose signed bytes are broadcast four at a time. AVX2
adds products in pairs to 16 bits, and there a whole group's, if the result fits. Sums on the way need not, so
they begin with the token's sums times minus what u is too large by: of 32 columns the weights' magnitudes may
then be 16, of 16 columns 32. Where they are larger each pair goes to 32 bits by itself. Sums of floats wait
in memory: no registers are left for them.

Weights of eight bits are too large for pairs of bytes. On AVX2 they and the tokens become 16-bit words in the
order of columns 4j, 4j + 2 and 4j + 1, 4j + 3, which are multiplied two at a time:

    16 x 64 bytes  weights, signed words: vectors 2j and 2j + 1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import isa
from ..simd.addresses import inline, opaque
from ..simd.dot import multiply_pairs
from ..simd.vectors import (
    I64,
    Vector,
    call_llvm,
    f32x8,
    i8x32,
    i32x8,
    load_value,
    splat_value,
    store,
    store_value,
    zero_f32x8,
)
from .tile_record import HALF_SUMS, RECORD_BYTES, SCALES, SUMS, TILE

LARGEST_TOKEN = 127
"""Magnitude of a token's int8."""

MOST_IN_WORD = 32767
ROWS = 8
"""Of a register: a lane of 32 bits each."""

REGISTERS = range(4)
TOKENS = 2
"""What meets at once: registers of rows, whose loads are cheaper than broadcasts of tokens."""

i16x16 = Vector("i16", 16)
WORDS_BYTES = 64 * TILE
"""Of a block's tokens as words."""


@dataclass(frozen=True)
class WeightForm:
    """How a type's weights are multiplied.

    step: `dpbusd` (AVX-VNNI), or `group`: a whole group is added in 16 bits, `pair`: pairs of products go to
    32 bits, `words`: weights and tokens are words. center: what u is too large by.
    """

    step: str
    center: int
    group: int
    has_minimum: bool

    @property
    def weight_bytes(self) -> int:
        """Of a block of 16 rows."""
        return 1024 if self.step == "words" else 512

    @property
    def group_bytes(self) -> int:
        """Of what a group's weights share."""
        return 64 * (2 if self.has_minimum else 1)

    @property
    def block_bytes(self) -> int:
        """Of a panel for a block of 32 columns."""
        return self.weight_bytes + 32 // self.group * self.group_bytes


def weight_form(kind: Any) -> WeightForm:
    """The form of a tensor type's weights."""

    def fits(largest: int, columns: int) -> bool:
        return largest * LARGEST_TOKEN * columns <= MOST_IN_WORD

    in_lane, largest_u = kind.GROUP // 2, kind.CENTER + kind.LARGEST
    step, center = "words", kind.CENTER
    if isa.current().dot == "vnni":
        step, center = "dpbusd", kind.OFFSET
    elif fits(largest_u, in_lane):
        step, center = "group", kind.OFFSET
    elif fits(kind.LARGEST, in_lane):
        step = "group"
    elif fits(largest_u, 2):
        step, center = "pair", kind.OFFSET
    return WeightForm(step, center, kind.GROUP, kind.HAS_MINIMUM)


def make_multiply_tile(kind: Any, n_tokens: int, second: int) -> Any:
    """`multiply_tile(panels, record, blocks, is_first, sums, words)`: blocks of 32 rows times a tile.

    n_tokens: 2 or 4 of the tile, the first ones. second: bytes from the first 16 rows' panels to the others'.
    sums: float32 [2][token of the tile][16 rows]. words: room for the tokens as words.
    """
    form = weight_form(kind)
    block_bytes, in_words, many = form.block_bytes, form.step == "words", n_tokens > TOKENS
    step_0, step_1 = (make_block_step(form, second, first) for first in (0, TOKENS))
    tokens_to_words = make_tokens_to_words(n_tokens)

    @inline
    def multiply_tile(panels, record, blocks, is_first, sums, words):
        if in_words:
            for block in range(blocks):
                tokens_to_words(record + block * RECORD_BYTES, words + block * WORDS_BYTES)
        if is_first:
            for at in range(0, 128 * TILE, 32):
                store(sums + at, zero_f32x8())
        for block in range(blocks):
            step_0(
                panels + block * block_bytes, record + block * RECORD_BYTES, words + block * WORDS_BYTES, sums
            )
        if many:
            for block in range(blocks):
                step_1(
                    panels + block * block_bytes,
                    record + block * RECORD_BYTES,
                    words + block * WORDS_BYTES,
                    sums,
                )

    return multiply_tile


def make_tokens_to_words(n_tokens: int) -> Any:
    """`to_words(record, words)`: the bytes of a block's tokens as words, even ones and then odd ones."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for t in range(n_tokens):
            source = load_value(builder, builder.add(args[0], I64(32 * t)), i8x32.llvm)
            for i, words in enumerate(words_of_bytes(builder, source)):
                at = builder.add(args[1], I64(64 * t + 32 * i))
                store_value(builder, at, words)
        return context.get_dummy_value()

    @intrinsic
    def to_words(typing: Any, record: Any, words: Any) -> Any:
        return types.none(types.int64, types.int64), codegen

    return to_words


def words_of_bytes(builder: Any, v: Any) -> tuple[Any, Any]:
    """Signed bytes as words: the even ones, and the odd ones."""
    words, eight = builder.bitcast(v, i16x16.llvm), ir.Constant(i16x16.llvm, [8] * 16)
    return builder.ashr(builder.shl(words, eight), eight), builder.ashr(words, eight)


def make_block_step(form: WeightForm, second: int, first_token: int) -> Any:
    """`step(panel, record, words, sums)`: adds one block of 32 columns of 32 rows to sums in memory.

    For two tokens, the first of which is a tile's `first_token`.
    """
    tokens = range(first_token, first_token + TOKENS)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        panel, record, words, sums = args
        # Opaque, so that no registers are sought for the sums over the loop of blocks.
        sums = opaque(builder, sums)
        for group in range(32 // form.group):
            _Group(builder, form, second, tokens, group, panel, record, words, sums).add_up()
        return context.get_dummy_value()

    @intrinsic
    def step(typing: Any, panel: Any, record: Any, words: Any, sums: Any) -> Any:
        return types.none(*[types.int64] * 4), codegen

    return step


@dataclass(frozen=True)
class _Group:
    """Emits the product of a group of columns of 32 rows, four registers of 8, with some tokens of a tile."""

    builder: Any
    form: WeightForm
    second: int
    tokens: range
    group: int
    panel: Any
    record: Any
    words: Any
    sums: Any

    def add_up(self) -> None:
        """Adds it to the sums."""
        totals = self._totals()
        builder, shared = self.builder, self.form.weight_bytes + self.group * self.form.group_bytes
        for t in self.tokens:
            x_scale = self._broadcast(self.record, SCALES + 4 * t, f32x8)
            x_sum = self._x_sum(t, x_scale) if self.form.has_minimum else None
            for q in REGISTERS:
                factor = builder.fmul(self._of_rows(q, shared, f32x8), x_scale)
                at = builder.add(self.sums, I64(64 * (q // 2 * TILE + t) + 32 * (q % 2)))
                total = load_value(builder, at, f32x8.llvm)
                if x_sum is not None:
                    total = self._fma(self._of_rows(q, shared + 64, f32x8), x_sum, total)
                total = self._fma(builder.sitofp(totals[t, q], f32x8.llvm), factor, total)
                store_value(builder, at, total)

    def _totals(self) -> dict[tuple[int, int], Any]:
        """For each token and register of rows, products of integers as int32 lanes."""
        step = {
            "dpbusd": self._dpbusd,
            "group": self._add_words,
            "pair": self._add_pairs,
            "words": self._madd,
        }
        add = step[self.form.step]
        sums = {}
        for t in self.tokens if self.form.center and self.form.step != "words" else ():
            start = self._start(t)
            sums |= {(t, q): start for q in REGISTERS}
        count = self.form.group // (2 if self.form.step == "words" else 4)
        for j in range(self.group * count, (self.group + 1) * count):
            xs = [self._token(t, j) for t in self.tokens]
            for q in REGISTERS:
                weights = self._of_rows(q, 64 * j, i8x32)
                for t, x in zip(self.tokens, xs, strict=True):
                    sums[t, q] = add(sums.get((t, q)), weights, x)
        if self.form.step == "group":
            return {place: self._widened(total) for place, total in sums.items()}
        return sums

    def _of_rows(self, q: int, offset: int, what: Vector) -> Any:
        """What the panels hold at an offset for 8 rows."""
        at = self.builder.add(self.panel, I64(q // 2 * self.second + offset + 32 * (q % 2)))
        return load_value(self.builder, at, what.llvm)

    def _token(self, t: int, j: int) -> Any:
        """Four bytes, or two words, of a token in every lane."""
        if self.form.step == "words":
            return self._broadcast(self.words, 64 * t + 32 * (j % 2) + 4 * (j // 2), i32x8)
        return self._broadcast(self.record, 32 * t + 4 * j, i32x8)

    def _start(self, t: int) -> Any:
        """Minus the center times the token's sum: pairs of words, or int32 where sums are."""
        builder, form = self.builder, self.form
        negative = self._pairs(t)
        centers = ir.Constant(i16x16.llvm, [form.center] * 16)
        return (
            builder.mul(negative, centers) if form.step == "group" else self._widened(negative, form.center)
        )

    def _pairs(self, t: int) -> Any:
        """Minus the token's sums of the group: words for columns 4j, 4j + 1 and for the two behind them."""
        first, both = (self._broadcast(self.record, HALF_SUMS + 8 * t + at, i32x8) for at in (0, 4))
        first, both = (self.builder.bitcast(v, i16x16.llvm) for v in (first, both))
        if self.form.group == 32:
            return both
        return self.builder.sub(both, first) if self.group else first

    def _x_sum(self, t: int, x_scale: Any) -> Any:
        """The token's scale times the sum of the group."""
        if self.form.group == 32:
            return self._broadcast(self.record, SUMS + 4 * t, f32x8)
        total = self._widened(self._pairs(t), -1)
        return self.builder.fmul(self.builder.sitofp(total, f32x8.llvm), x_scale)

    def _dpbusd(self, total: Any, w: Any, x: Any) -> Any:
        total = ir.Constant(i32x8.llvm, [0] * ROWS) if total is None else total
        return call_llvm(self.builder, "llvm.x86.avx512.vpdpbusd.256", i32x8.llvm, [total, w, x])

    def _add_words(self, total: Any, w: Any, x: Any) -> Any:
        return self._plus(total, multiply_pairs(self.builder, w, self.builder.bitcast(x, i8x32.llvm)))

    def _add_pairs(self, total: Any, w: Any, x: Any) -> Any:
        products = multiply_pairs(self.builder, w, self.builder.bitcast(x, i8x32.llvm))
        return self._plus(total, self._widened(products))

    def _madd(self, total: Any, w: Any, x: Any) -> Any:
        w, x = (self.builder.bitcast(v, i16x16.llvm) for v in (w, x))
        return self._plus(total, self._multiply_words(w, x))

    def _plus(self, total: Any, more: Any) -> Any:
        """Their sum, in this order: the code generator would add products first and run out of registers."""
        if total is None:
            return more
        name = "vpaddw" if total.type.element.width == 16 else "vpaddd"
        signature = ir.FunctionType(total.type, [total.type] * 2)
        code = ir.InlineAsm(signature, f"{name} $2, $1, $0", "=x,x,x", side_effect=True)
        return self.builder.call(code, [total, more])

    def _widened(self, pairs: Any, factor: int = 1) -> Any:
        """Neighbouring words, times a factor, added to int32."""
        return self._multiply_words(pairs, ir.Constant(i16x16.llvm, [factor] * 16))

    def _multiply_words(self, a: Any, b: Any) -> Any:
        return call_llvm(self.builder, "llvm.x86.avx2.pmadd.wd", i32x8.llvm, [a, b])

    def _broadcast(self, address: Any, offset: int, what: Vector) -> Any:
        value = load_value(self.builder, self.builder.add(address, I64(offset)), what.llvm.element, 4)
        return splat_value(self.builder, what, value)

    def _fma(self, a: Any, b: Any, c: Any) -> Any:
        return call_llvm(self.builder, "llvm.fma.v8f32", f32x8.llvm, [a, b, c])
