"""Measuring what this machine does in a second: products of tensor types, attention, a step, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.attention.cache_layout import CacheShape
from glmq_kernels.ops.batch_state import N_ROW_TOKENS, N_TOKENS, PAGE_TABLES, POSITIONS
from glmq_kernels.ops.machine_peak.operation import read_bandwidth
from glmq_kernels.ops.operands import matrix_of
from glmq_kernels.threads.tape import ActivationType, Tape, Work
from glmq_kernels.threads.thread_pool import ThreadPool

from ..demo import TOOLS_MODEL
from .figures import AttentionSpeed, MemorySpeed, ProductSpeed, StepSpeed

COLUMNS = 4096
ONE_BYTES = 64 << 20
"""Of the matrix that one token meets: more than what caches hold."""

FEW, FEW_ROWS = 32, 4096
MANY, MANY_ROWS = 256, 2048
"""Tokens that meet a matrix of so many rows, as of an expert and of a whole prompt."""

DEPTH = 4096
MANY_ATTENDING = 128
OPERATIONS, SMALL_ROW, LARGE_ROW = 200, 256, 65536
STEPS = 40
TRIES = 5


def product_speed(thread_pool: ThreadPool, type_name: str, activations: ActivationType) -> ProductSpeed:
    """How fast tokens meet matrices of a tensor type."""
    one_rows = ONE_BYTES // KERNEL_TYPES[type_name].row_bytes(COLUMNS)
    one, few, many = (
        _product_seconds(thread_pool, type_name, activations, rows, n_tokens) / (rows * COLUMNS)
        for rows, n_tokens in ((one_rows, 1), (FEW_ROWS, FEW), (MANY_ROWS, MANY))
    )
    return ProductSpeed(one, few, many)


def _product_seconds(
    thread_pool: ThreadPool, type_name: str, activations: ActivationType, rows: int, n_tokens: int
) -> float:
    tape = Tape(n_tokens, thread_pool.n_threads, activations)
    data = _plain_bytes(rows * KERNEL_TYPES[type_name].row_bytes(COLUMNS))
    activation = ops.new_activation(tape, COLUMNS)
    activation.rows.view(np.float32)[:] = 0.01
    activation.serve(type_name)
    ops.prepare_rows(tape, activation)
    matrix = matrix_of(data, rows, COLUMNS, type_name)
    ops.matmul(tape, activation, ops.Projection(matrix, ops.float_rows(tape, rows)))
    tape.state[N_TOKENS], tape.state[N_ROW_TOKENS] = n_tokens, int(n_tokens == 1)
    return _usual_seconds(tape, thread_pool)


def _plain_bytes(n_bytes: int) -> np.ndarray:
    """Random bytes that are numbers of ordinary size in every type, scales and powers of two included."""
    data = aligned_zeros(n_bytes)
    data[:] = np.resize(np.random.default_rng(0).integers(0x30, 0x40, 1 << 16, np.uint8), n_bytes)
    return data


def attention_speed(thread_pool: ThreadPool, n_heads: int, shape: CacheShape) -> AttentionSpeed:
    """How fast one layer's heads look back."""
    one = _attention_seconds(thread_pool, n_heads, shape, 1) / DEPTH
    n = MANY_ATTENDING
    many = _attention_seconds(thread_pool, n_heads, shape, n) / (n * (DEPTH + n / 2))
    return AttentionSpeed(one, many)


def _attention_seconds(thread_pool: ThreadPool, n_heads: int, shape: CacheShape, n_tokens: int) -> float:
    """Seconds of one layer for tokens behind `DEPTH` positions."""
    tape = Tape(n_tokens, thread_pool.n_threads)
    q = ops.float_rows(tape, n_heads * shape.key_dim)
    q.view(np.float32)[:] = 0.01
    planner = ops.attention_planner(tape, shape, n_heads)
    ops.attend(tape, q, ops.new_activation(tape, n_heads * shape.value_dim), planner, 0)
    memory = aligned_zeros(shape.n_bytes(DEPTH + n_tokens))
    memory[:] = 0x11  # small numbers in every type
    table = copy_of(address_of(memory) + np.arange(0, len(memory), shape.page_bytes), np.int64)
    positions = copy_of(np.arange(DEPTH, DEPTH + n_tokens), np.int64)
    tables = copy_of([address_of(table)] * n_tokens, np.int64)
    state = tape.state
    state[N_TOKENS], state[POSITIONS], state[PAGE_TABLES] = (
        n_tokens,
        address_of(positions),
        address_of(tables),
    )
    planner.plan(state, positions, tables)
    return _usual_seconds(tape, thread_pool)


def step_speed(thread_pool: ThreadPool, of_products: Callable[[Work], float]) -> StepSpeed:
    """What a step costs beside its products, found with small operations and the smallest model there is.

    of_products: seconds of one token's products.
    """
    from ..load_model import load

    small, large = (_operation_seconds(thread_pool, columns) for columns in (SMALL_ROW, LARGE_ROW))
    number = max(0.0, (large - small) / (LARGE_ROW - SMALL_ROW))
    with load(TOOLS_MODEL, n_ctx=STEPS + 1, n_threads=thread_pool.n_threads, activations="int8") as model:
        session = model.session()
        seconds = []
        for token in range(STEPS):
            began = time.perf_counter()
            session.evaluate([token])
            seconds.append(time.perf_counter() - began)
        known = small * model.n_operations + of_products(model.work)
    return StepSpeed(small, number, max(0.0, statistics.median(seconds) - known))


def _operation_seconds(thread_pool: ThreadPool, columns: int) -> float:
    """Seconds of an operation on one row, as between products."""
    tape = Tape(1, thread_pool.n_threads)
    rows, out = ops.float_rows(tape, columns), ops.new_activation(tape, columns)
    out.serve("Q8_0")
    weight = np.ones(columns + 16, np.float32)
    n = OPERATIONS * SMALL_ROW // columns + 1
    for _ in range(n):
        ops.rms_norm(tape, rows, weight, 1e-5, out)
    tape.state[N_TOKENS] = tape.state[N_ROW_TOKENS] = 1
    return _usual_seconds(tape, thread_pool) / n


def memory_speed(thread_pool: ThreadPool) -> MemorySpeed:
    """How fast memory is read."""
    memory = aligned_zeros(2 * ONE_BYTES)
    memory[:] = 1
    return MemorySpeed(read_bandwidth(thread_pool, memory))


def _usual_seconds(tape: Tape, thread_pool: ThreadPool) -> float:
    """Of a run, when its memory has been touched."""
    tape.finish()
    tape.run(thread_pool)
    seconds = []
    for _ in range(TRIES):
        began = time.perf_counter()
        tape.run(thread_pool)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
