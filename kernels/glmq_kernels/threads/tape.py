"""A tape: the operations of a forward pass with their operands resolved, ready for a thread pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from ..arrays import address_of, aligned_zeros, copy_of, zeros
from ..jit.store import Kernel, arguments, kernels
from .argument_record import COUNTER_BYTES, UNLESS_ONE, ArgumentPart, ArgumentRecord, with_parts
from .thread_pool import ThreadPool

ActivationType = Literal["int8", "f32"]
ACTIVATION_TYPES = get_args(ActivationType)
BytesOf = Callable[[int], int]
"""Bytes of memory for a number of tokens."""

STATE_SLOTS = 32
"""Entries of the record of a run; what they mean is the operations' matter."""


class Scratch:
    """Stands for the address of the scratch memory (and `ScratchBytes` for a thread's share of it)."""


class ScratchBytes:
    """See `Scratch`."""


@dataclass(frozen=True)
class Code:
    """Stands for the address of a kernel that an operation's kernel calls."""

    kernel_name: str


@dataclass(frozen=True)
class UnlessOne:
    """A barrier in runs only where this entry of the state is not 1.

    What every thread works out for itself where it is 1 need not be waited for.
    """

    slot: int


@dataclass(frozen=True)
class Product:
    """A product of weight matrices (rows, columns) with a batch.

    type: the tensor type. n_bytes: of one matrix. n_choices: how many of the `n_matrices` each token meets.
    routed: a router chooses them. outputs_only: only tokens with wanted outputs meet them. absorbed_only:
    only tokens of latent attention that meet the cache as it is.
    """

    type: str
    rows: int
    columns: int
    n_bytes: int
    n_choices: int
    n_matrices: int
    routed: bool
    outputs_only: bool
    absorbed_only: bool

    @property
    def multiply_adds(self) -> int:
        """Of one token."""
        return self.n_choices * self.rows * self.columns


@dataclass
class Work:
    """The products on a tape, in their order, and what they cost for one token.

    Those of matrices that only the tokens with wanted outputs meet are counted apart.
    """

    products: list[Product] = field(default_factory=list)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that a token reads."""
        return sum(each.n_choices * each.n_bytes for each in self.products if not each.outputs_only)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a token."""
        return sum(each.multiply_adds for each in self.products if not each.outputs_only)

    @property
    def output_bytes(self) -> int:
        """Bytes of weights that a token with wanted outputs reads besides."""
        return sum(each.n_choices * each.n_bytes for each in self.products if each.outputs_only)

    @property
    def output_multiply_adds(self) -> int:
        """Multiply-adds of a token with wanted outputs besides."""
        return sum(each.multiply_adds for each in self.products if each.outputs_only)


@dataclass(frozen=True)
class InputSums:
    """Of the rows that met some matrices in products: what their squares add up to, and how many there were.

    names: of the tensors that have these inputs. sums: float32 (n_matrices, columns). counts: int64
    (n_matrices,). by_expert: whether the matrices are experts that tokens are routed to. scale: by what the
    rows were multiplied beforehand, and so the sums by its square.
    """

    names: tuple[str, ...]
    sums: np.ndarray
    counts: np.ndarray
    by_expert: bool
    scale: float = 1.0


@dataclass
class Tape:
    """Operations for batches of up to `max_tokens`, built once by the operations in `ops/`, run many times.

    `activations`: what tokens are in products with quantized matrices (float matrices always meet floats).
    `state` is the record that every operation reads (`ops/batch_state.py`). A tape works on memory of its
    own, so one tape is run by one caller at a time. `input_sums` grow with every run, where there are any.
    `n_nodes`: of memory among which matrices are shared out by rows (`glmq_kernels/threads/work_units.py`).
    """

    max_tokens: int
    n_threads: int
    activations: ActivationType = "int8"
    n_nodes: int = 1
    state: np.ndarray = field(default_factory=lambda: zeros(STATE_SLOTS, np.int64))
    work: Work = field(default_factory=Work)
    input_sums: list[InputSums] = field(default_factory=list)
    _steps: list[tuple[str, tuple[object, ...], int]] = field(default_factory=list)
    _alive: list[object] = field(default_factory=list)
    _sizes: list[BytesOf] = field(default_factory=list)
    _scratch_bytes: int = 0
    _scratch: np.ndarray | None = None
    _operations: np.ndarray | None = None
    _section_starts: dict[str, int] = field(default_factory=dict)
    _excerpts: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def add(
        self,
        kernel_name: str,
        record: type[ArgumentRecord],
        *,
        barrier: bool | UnlessOne = True,
        parts: tuple[type[ArgumentPart], Sequence[Mapping[str, object]]] | None = None,
        **fields: object,
    ) -> None:
        """Append an operation: a kernel and the fields of its argument record, by names in small letters.

        barrier: the threads wait for each other after it. parts: records of what it has several of.
        """
        code = UNLESS_ONE + barrier.slot if isinstance(barrier, UnlessOne) else int(barrier)
        self._steps.append((kernel_name, tuple(with_parts(record, fields, parts)), code))

    def section(self, name: str) -> None:
        """Begin a section, which lasts until the next one begins. It may stay empty."""
        assert name not in self._section_starts, name
        self._section_starts[name] = len(self._steps)

    def keep(self, operand: object, n_bytes: BytesOf | None = None) -> None:
        """Hold an operand's memory for the life of the tape.

        n_bytes: of a number of tokens, the bytes of it that batches of so many touch. By default an array
        counts as a whole, anything else as nothing.
        """
        self._alive.append(operand)
        size = getattr(operand, "nbytes", 0)
        self._sizes.append(n_bytes or (lambda n_tokens: size))

    def n_bytes(self, n_tokens: int) -> int:
        """Memory that batches of up to `n_tokens` work on, beside weights that are mapped.

        What a tape for larger batches holds more than that is never touched, so the system gives none for it.
        """
        return sum(size(n_tokens) for size in self._sizes) + self._scratch_bytes * self.n_threads

    def reserve_scratch(self, n_bytes: int) -> None:
        """Make a thread's scratch at least so large."""
        self._scratch_bytes = max(self._scratch_bytes, -(-n_bytes // 64) * 64)

    def kernel_names(self) -> Iterator[str]:
        """The kernels that the tape calls, and those that they call."""
        called = [
            value.kernel_name for _, values, _ in self._steps for value in values if isinstance(value, Code)
        ]
        return iter(dict.fromkeys([*(name for name, _, _ in self._steps), *called]))

    def finish(self) -> None:
        """Load (and compile, once) the kernels and fix every operand's address."""
        loaded = kernels(self.kernel_names())
        scratch = aligned_zeros(self._scratch_bytes * self.n_threads)
        self._scratch = scratch
        operations = zeros((len(self._steps), 3), np.int64)
        taken = zeros((len(self._steps), self.n_nodes * COUNTER_BYTES // 8), np.int64)
        self.keep(taken)
        for i, (name, values, barrier) in enumerate(self._steps):
            resolved = [self._resolve(value, scratch, loaded) for value in values]
            packed = arguments(address_of(self.state), address_of(taken[i]), self.n_nodes, *resolved)
            self.keep(packed)
            operations[i] = loaded[name].address, address_of(packed), barrier
        self.keep(loaded)
        self._operations = operations

    def _resolve(self, value: object, scratch: np.ndarray, loaded: dict[str, Kernel]) -> int | float:
        if isinstance(value, Code):
            return loaded[value.kernel_name].address
        if value is Scratch:
            return address_of(scratch)
        if value is ScratchBytes:
            return self._scratch_bytes
        assert isinstance(value, int | float | np.integer), value
        return float(value) if isinstance(value, float) else int(value)

    def n_barriers(self, section: str) -> int:
        """Barriers of a section for what `state` says."""
        first, after = self._section_starts[section], self.sections[self.sections.index(section) + 1 :]
        last = self._section_starts[after[0]] if after else len(self._steps)
        codes = [code for _, _, code in self._steps[first:last]]
        return sum(code == 1 or (code > 1 and self.state[code - UNLESS_ONE] != 1) for code in codes)

    @property
    def n_operations(self) -> int:
        """Operations of the whole tape."""
        return len(self._steps)

    @property
    def sections(self) -> tuple[str, ...]:
        """Names of the sections, in their order."""
        return tuple(self._section_starts)

    def run(self, thread_pool: ThreadPool, start: str | None = None, end: str | None = None) -> None:
        """Run the tape once, for what `state` says.

        start: the section to begin with, the whole tape's beginning for None. end: the section before which
        to stop, the whole tape's end for None.
        """
        first = 0 if start is None else self._section_starts[start]
        last = len(self._steps) if end is None else self._section_starts[end]
        if first < last:
            thread_pool.run(self._excerpt(first, last))

    def run_section(self, thread_pool: ThreadPool, name: str) -> None:
        """Run one section."""
        after = self.sections[self.sections.index(name) + 1 :]
        self.run(thread_pool, name, after[0] if after else None)

    def _excerpt(self, first: int, last: int) -> np.ndarray:
        """Some of the operations, with a barrier after the last."""
        assert self._operations is not None, "finish() the tape first"
        excerpt = self._excerpts.get((first, last))
        if excerpt is None:
            excerpt = copy_of(self._operations[first:last], np.int64)
            excerpt[-1, 2] = 1
            self._excerpts[first, last] = excerpt
        return excerpt
