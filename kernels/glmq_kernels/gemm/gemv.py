"""Rows of a weight matrix times one to four tokens: each weight is read once, in the order of the file.

These are the kernels of a tensor type for few tokens; the operations (`matmul.py`, `feed_forward.py`) find
them by address, so that they themselves are the same for all types.

For 256 weights at a time, u, scales and minima of a row are unpacked (`formats/`), and

    sum over groups  scale * x scale * (u . q)  +  minimum * x scale * sum(q)

is added up in lanes, q being the token as int8 with a scale for every 32 (`activation.py`).
"""

from __future__ import annotations

from typing import Any

from ..formats.unpack import unpacking_of
from ..simd.addresses import argument, inline, load_f32, load_i64, prefetch, store_f32
from ..simd.conversions import to_float
from ..simd.dot import make_dot
from ..simd.vectors import (
    f32x8,
    fma,
    keep_lanes,
    load_f32x8,
    load_f32x16,
    load_i8x32,
    load_i8x64,
    make_constant,
    make_shuffle,
    splat_f32x8,
    sum_lanes,
    zero_f32x8,
    zero_f32x16,
    zero_i32x8,
    zero_i32x16,
)
from .activation_record import (
    ACTIVATION_COLUMNS,
    ACTIVATION_Q,
    ACTIVATION_ROWS,
    ACTIVATION_SCALE,
    ACTIVATION_SUM16,
    ACTIVATION_SUM32,
)

PREFETCH_BYTES = 3072
"""How far ahead weights are asked for: without it a core reads at a third of the memory's speed."""

each_twice = make_shuffle([lane // 2 for lane in range(16)])
first_only_f32x8 = make_constant(f32x8, [1.0] + [0.0] * 7)
GROUP_LANES = {
    16: [make_shuffle([4 * k + lane // 4 for lane in range(16)]) for k in range(4)],
    32: [make_shuffle([2 * k + lane // 8 for lane in range(16)]) for k in range(4)],
}
"""For each 64 of 256 weights: the factor of each four of them."""


def dot_rows(format_name: str) -> Any:
    """Kernel: out[i] = row i times a token.

    rows, bytes from a row to the next, number of rows, activation, its row, out (float32).
    """
    return rows_kernel(_make_dot(unpacking_of(format_name)))


def rows_kernel(dot: Any) -> Any:
    """The kernel `dot_rows` of a `dot(row, activation, token)`."""

    def kernel(rows, stride, count, activation, token, out):
        for i in range(count):
            store_f32(out + 4 * i, dot(rows + i * stride, activation, token))

    return kernel


def dot_rows_4(format_name: str) -> Any:
    """Kernel: out[t][i] = row i times token t, for four tokens.

    rows, bytes from a row to the next, number of rows, activation, address of four of its rows' numbers
    (int64), out (float32), bytes from a token's output to the next.
    """
    return rows_kernel_4(_make_dot_4(unpacking_of(format_name)))


def rows_kernel_4(dot_4: Any) -> Any:
    """The kernel `dot_rows_4` of a `dot_4(row, activation, a, b, c, d)`."""

    def kernel(rows, stride, count, activation, tokens, out, out_stride):
        a, b, c, d = load_i64(tokens), load_i64(tokens + 8), load_i64(tokens + 16), load_i64(tokens + 24)
        for i in range(count):
            p, q, r, s = dot_4(rows + i * stride, activation, a, b, c, d)
            store_f32(out + 4 * i, p)
            store_f32(out + out_stride + 4 * i, q)
            store_f32(out + 2 * out_stride + 4 * i, r)
            store_f32(out + 3 * out_stride + 4 * i, s)

    return kernel


def _make_dot(kind: Any) -> Any:
    """`dot(row, activation, token) -> float32`."""
    return _make_float_dot(kind) if kind.FLOAT else _make_integer_dot(kind)


def _make_dot_4(kind: Any) -> Any:
    """`dot_4(row, activation, a, b, c, d)`: the same for four tokens."""
    return _make_float_dot_4(kind) if kind.FLOAT else _make_integer_dot_4(kind)


def _make_sum(kind: Any) -> tuple[Any, Any, Any, Any]:
    """The sum of one token: `start()`, `add(...)` of 256 weights, `add_block(...)` of 32, `finish(sum)`.

    It is kept in four vectors: of products, two so that one need not wait for the other; of what groups
    have in common; and of blocks behind the last 256.
    """
    dot = make_dot(wide=kind.OFFSET + kind.LARGEST > 127)
    lanes_0, lanes_1, lanes_2, lanes_3 = GROUP_LANES[kind.GROUP]
    by_16 = kind.GROUP == 16
    zero_common = zero_f32x16 if by_16 else zero_f32x8
    load_sums = load_f32x16 if by_16 else load_f32x8
    sum_bytes = 4 if by_16 else 8
    factor_of_common = 1.0 if kind.HAS_MINIMUM else -float(kind.OFFSET)

    @inline
    def start():
        return zero_f32x16(), zero_f32x16(), zero_common(), zero_f32x8()

    @inline
    def products(total, weights, q, factors):
        return fma(to_float(dot(zero_i32x16(), weights, load_i8x64(q))), factors, total)

    @inline
    def add(total, weights, scales, minima, token, i):
        q, x_scale, x_sum = token
        x_scales = load_f32x8(x_scale + i // 8)
        factors = scales * (each_twice(x_scales, x_scales) if by_16 else x_scales)
        even, odd, common, tail = total
        even = products(even, weights[0], q + i, lanes_0(factors, factors))
        odd = products(odd, weights[1], q + i + 64, lanes_1(factors, factors))
        even = products(even, weights[2], q + i + 128, lanes_2(factors, factors))
        odd = products(odd, weights[3], q + i + 192, lanes_3(factors, factors))
        common = fma(minima, load_sums(x_sum + i // sum_bytes), common)
        return even, odd, common, tail

    @inline
    def add_block(total, weights, scale, minimum, token, i):
        q, x_scale, x_sum = token
        even, odd, common, tail = total
        found = to_float(dot(zero_i32x8(), weights, load_i8x32(q + i)))
        tail = fma(found, splat_f32x8(scale * load_f32(x_scale + i // 8)), tail)
        common = common + first_only_f32x8() * splat_f32x8(minimum * load_f32(x_sum + i // 8))
        return even, odd, common, tail

    @inline
    def finish(total):
        even, odd, common, tail = total
        return sum_lanes(even + odd) + sum_lanes(tail) + factor_of_common * sum_lanes(common)

    return start, add, add_block, finish


def _make_token(kind: Any) -> Any:
    """`token(activation, row)`: addresses of its bytes, scales and sums."""
    slot, per = (ACTIVATION_SUM16, 4) if kind.GROUP == 16 else (ACTIVATION_SUM32, 8)

    @inline
    def token(activation, row):
        columns = argument(activation, ACTIVATION_COLUMNS)
        return (
            argument(activation, ACTIVATION_Q) + columns * row,
            argument(activation, ACTIVATION_SCALE) + columns // 8 * row,
            argument(activation, slot) + columns // per * row,
        )

    return token


def make_prefetch(kind: Any) -> Any:
    """`ask_ahead(p)`: ask memory for what comes some blocks behind the 256 weights at p."""
    n_lines = (kind.BYTES + 63) // 64

    @inline
    def ask_ahead(p):
        for line in range(n_lines):
            prefetch(p + PREFETCH_BYTES + 64 * line)

    return ask_ahead


def _make_unpack_last(kind: Any) -> Any:
    """`unpack_last(row, columns)`: a row's last 256 weights, of which those unpacked before count nothing."""
    unpack, size = kind.unpack, kind.BYTES // 8

    @inline
    def unpack_last(row, columns):
        weights, scales, minima = unpack(row + (columns // 32 - 8) * size)
        before = 8 - columns % 256 // 32
        return weights, keep_lanes(zero_f32x8(), before, scales), keep_lanes(zero_f32x8(), before, minima)

    return unpack_last


def _make_integer_dot(kind: Any) -> Any:
    start, add, add_block, finish = _make_sum(kind)
    token, ask_ahead = _make_token(kind), make_prefetch(kind)
    unpack, unpack_block, size = kind.unpack, kind.unpack_block, kind.BYTES
    in_blocks, unpack_last = unpack_block is not None, _make_unpack_last(kind)

    @inline
    def dot(row, activation, a):
        columns = argument(activation, ACTIVATION_COLUMNS)
        x = token(activation, a)
        total = start()
        p = row
        for i in range(0, columns // 256 * 256, 256):
            ask_ahead(p)
            weights, scales, minima = unpack(p)
            total = add(total, weights, scales, minima, x, i)
            p += size
        if in_blocks and columns % 256:
            if columns > 256:
                weights, scales, minima = unpack_last(row, columns)
                total = add(total, weights, scales, minima, x, columns - 256)
            else:
                for i in range(0, columns, 32):
                    block, scale, minimum = unpack_block(p)
                    total = add_block(total, block, scale, minimum, x, i)
                    p += size // 8
        return finish(total)

    return dot


def _make_integer_dot_4(kind: Any) -> Any:
    start, add, add_block, finish = _make_sum(kind)
    token, ask_ahead = _make_token(kind), make_prefetch(kind)
    unpack, unpack_block, size = kind.unpack, kind.unpack_block, kind.BYTES
    in_blocks, unpack_last = unpack_block is not None, _make_unpack_last(kind)

    @inline
    def dot_4(row, activation, a, b, c, d):
        columns = argument(activation, ACTIVATION_COLUMNS)
        x, y, z, w = token(activation, a), token(activation, b), token(activation, c), token(activation, d)
        sum_x, sum_y, sum_z, sum_w = start(), start(), start(), start()
        p = row
        for i in range(0, columns // 256 * 256, 256):
            ask_ahead(p)
            weights, scales, minima = unpack(p)
            sum_x = add(sum_x, weights, scales, minima, x, i)
            sum_y = add(sum_y, weights, scales, minima, y, i)
            sum_z = add(sum_z, weights, scales, minima, z, i)
            sum_w = add(sum_w, weights, scales, minima, w, i)
            p += size
        if in_blocks and columns % 256:
            if columns > 256:
                weights, scales, minima = unpack_last(row, columns)
                sum_x = add(sum_x, weights, scales, minima, x, columns - 256)
                sum_y = add(sum_y, weights, scales, minima, y, columns - 256)
                sum_z = add(sum_z, weights, scales, minima, z, columns - 256)
                sum_w = add(sum_w, weights, scales, minima, w, columns - 256)
            else:
                for i in range(0, columns, 32):
                    block, scale, minimum = unpack_block(p)
                    sum_x = add_block(sum_x, block, scale, minimum, x, i)
                    sum_y = add_block(sum_y, block, scale, minimum, y, i)
                    sum_z = add_block(sum_z, block, scale, minimum, z, i)
                    sum_w = add_block(sum_w, block, scale, minimum, w, i)
                    p += size // 8
        return finish(sum_x), finish(sum_y), finish(sum_z), finish(sum_w)

    return dot_4


def _make_float_dot(kind: Any) -> Any:
    load_16, load_1, width = kind.load_16, kind.load_1, kind.WIDTH
    n_lines = width

    @inline
    def dot(row, activation, token):
        columns = argument(activation, ACTIVATION_COLUMNS)
        x = argument(activation, ACTIVATION_ROWS) + 4 * columns * token
        a, b, c, d = zero_f32x16(), zero_f32x16(), zero_f32x16(), zero_f32x16()
        i = 0
        while i + 64 <= columns:
            p = row + i * width
            for line in range(n_lines):
                prefetch(p + PREFETCH_BYTES + 64 * line)
            a = fma(load_16(p), load_f32x16(x + 4 * i), a)
            b = fma(load_16(p + 16 * width), load_f32x16(x + 4 * i + 64), b)
            c = fma(load_16(p + 32 * width), load_f32x16(x + 4 * i + 128), c)
            d = fma(load_16(p + 48 * width), load_f32x16(x + 4 * i + 192), d)
            i += 64
        while i + 16 <= columns:
            a = fma(load_16(row + i * width), load_f32x16(x + 4 * i), a)
            i += 16
        result = sum_lanes((a + b) + (c + d))
        while i < columns:
            result += load_1(row + i * width) * load_f32(x + 4 * i)
            i += 1
        return result

    return dot


def _make_float_dot_4(kind: Any) -> Any:
    load_16, load_1, width = kind.load_16, kind.load_1, kind.WIDTH

    @inline
    def dot_4(row, activation, a, b, c, d):
        columns = argument(activation, ACTIVATION_COLUMNS)
        rows = argument(activation, ACTIVATION_ROWS)
        x, y = rows + 4 * columns * a, rows + 4 * columns * b
        z, w = rows + 4 * columns * c, rows + 4 * columns * d
        total_x, total_y, total_z, total_w = zero_f32x16(), zero_f32x16(), zero_f32x16(), zero_f32x16()
        whole = columns // 16 * 16
        for i in range(0, whole, 16):
            prefetch(row + i * width + PREFETCH_BYTES)
            weights = load_16(row + i * width)
            total_x = fma(weights, load_f32x16(x + 4 * i), total_x)
            total_y = fma(weights, load_f32x16(y + 4 * i), total_y)
            total_z = fma(weights, load_f32x16(z + 4 * i), total_z)
            total_w = fma(weights, load_f32x16(w + 4 * i), total_w)
        p, q, r, s = sum_lanes(total_x), sum_lanes(total_y), sum_lanes(total_z), sum_lanes(total_w)
        for i in range(whole, columns):
            weight = load_1(row + i * width)
            p += weight * load_f32(x + 4 * i)
            q += weight * load_f32(y + 4 * i)
            r += weight * load_f32(z + 4 * i)
            s += weight * load_f32(w + 4 * i)
        return p, q, r, s

    return dot_4
