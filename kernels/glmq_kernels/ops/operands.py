"""What operations work on: weight matrices, activations and routings, as kernels see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import address_of, aligned_zeros, copy_of, guarded, zeros
from ..formats.tensor_types import MATRIX_TYPES
from ..gemm.activation_record import (
    ACTIVATION_BFLOAT_TILES,
    ACTIVATION_COLUMNS,
    ACTIVATION_FLOAT_TILES,
    ACTIVATION_ROW_RECORDS,
    ACTIVATION_ROWS,
    ACTIVATION_SLOTS,
    ACTIVATION_TILES,
)
from ..gemm.sizes import float_tile_bytes, record_bytes, row_records_bytes, takes_bfloat
from ..jit import isa
from ..threads.tape import ActivationType
from .routing.record import (
    ROUTING_CHOICES,
    ROUTING_CHOSEN,
    ROUTING_FIRST_EXPERT,
    ROUTING_IN_ROW_FORM,
    ROUTING_LAST_EXPERT,
    ROUTING_N_CHOICES,
    ROUTING_N_EXPERTS,
    ROUTING_OFFSETS,
    ROUTING_ORDER,
    ROUTING_SLOTS,
    ROUTING_TILE_OFFSETS,
    ROUTING_TOP_K,
    ROUTING_WEIGHTS,
)

TILE_FORMS = {ACTIVATION_TILES, ACTIVATION_FLOAT_TILES, ACTIVATION_BFLOAT_TILES}
"""Forms of an activation in tiles, the others being rows."""


@dataclass(frozen=True)
class Matrix:
    """A weight matrix (rows, columns) of a tensor type, where it lies. `memory` keeps it there.

    observed_as: its tensor's name, where the inputs that it meets are to be added up.
    """

    address: int
    rows: int
    columns: int
    type: str
    memory: object = None
    observed_as: str = ""

    @property
    def row_bytes(self) -> int:
        """Bytes from a row to the next."""
        return MATRIX_TYPES[self.type].row_bytes(self.columns)

    @property
    def n_bytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes


def matrix_of(data: np.ndarray, rows: int, columns: int, type_name: str, observed_as: str = "") -> Matrix:
    """A matrix over the bytes of an array."""
    data = guarded(data)
    return Matrix(address_of(data), rows, columns, type_name, data, observed_as)


class Activation:
    """Rows of float32, and the other forms in which the products that read them want them.

    precision: int8, or f32 where they are not rounded: float matrices meet floats in any case, but of BF16
    in bfloat16, where the processor multiplies that, unless it is f32.
    A form's memory exists once a product of its kind has asked for it with `serve`.
    """

    def __init__(
        self, max_rows: int, columns: int, max_tiles: int, precision: ActivationType = "int8"
    ) -> None:
        self.columns, self.precision = columns, precision
        self._max_rows, self._max_tiles = max_rows, max_tiles
        self._memory: dict[int, np.ndarray] = {}
        self.slots = zeros(ACTIVATION_SLOTS, np.int64)
        self.slots[ACTIVATION_COLUMNS] = columns
        self.rows = self._allocate(ACTIVATION_ROWS, max_rows * columns * 4)

    @property
    def address(self) -> int:
        """Address of the record that kernels read."""
        return address_of(self.slots)

    def _allocate(self, slot: int, n_bytes: int) -> np.ndarray:
        memory = aligned_zeros(n_bytes)
        self._memory[slot] = memory
        self.slots[slot] = address_of(memory)
        return memory

    def n_bytes(self, n_rows: int, n_tiles: int) -> int:
        """Memory of all forms of so many rows and tiles."""
        return sum(
            memory.nbytes * n_tiles // self._max_tiles
            if slot in TILE_FORMS
            else memory.nbytes * n_rows // self._max_rows
            for slot, memory in self._memory.items()
        )

    def serve(self, type_name: str) -> None:
        """Have the rows prepared for products with matrices of a tensor type."""
        columns, is_exact = self.columns, self.precision == "f32"
        in_integers = not is_exact and not MATRIX_TYPES[type_name].is_float
        if in_integers:
            self._need(ACTIVATION_ROW_RECORDS, self._max_rows * row_records_bytes(columns))
        if takes_bfloat(type_name) and not is_exact:
            self._need(ACTIVATION_BFLOAT_TILES, self._max_tiles * float_tile_bytes(columns, bfloat=True))
        elif in_integers:
            tile_bytes = columns // 32 * record_bytes(isa.current().tile)
            self._need(ACTIVATION_TILES, self._max_tiles * tile_bytes)
        else:
            self._need(ACTIVATION_FLOAT_TILES, self._max_tiles * float_tile_bytes(columns, bfloat=False))

    def _need(self, slot: int, n_bytes: int) -> None:
        if not self.slots[slot]:
            self._allocate(slot, n_bytes)


class Routing:
    """Which experts a batch's tokens go to, with what weights."""

    def __init__(self, max_tokens: int, n_experts: int, top_k: int) -> None:
        self.n_experts, self.top_k = n_experts, top_k
        n = max_tokens * top_k
        self.chosen = zeros((max_tokens, top_k), np.int64)
        self.weights = zeros((max_tokens, top_k), np.float32)
        self.offsets = zeros(n_experts + 1, np.int64)
        self.tile_offsets = zeros(n_experts + 1, np.int64)
        self.in_row_form = zeros(n_experts, np.int64)
        self.order = zeros(n, np.int64)
        self._choices = zeros(top_k, np.int64)
        self.slots = zeros(ROUTING_SLOTS, np.int64)
        self.slots[ROUTING_N_EXPERTS], self.slots[ROUTING_TOP_K] = n_experts, top_k
        for slot, array in (
            (ROUTING_CHOSEN, self.chosen),
            (ROUTING_WEIGHTS, self.weights),
            (ROUTING_OFFSETS, self.offsets),
            (ROUTING_TILE_OFFSETS, self.tile_offsets),
            (ROUTING_IN_ROW_FORM, self.in_row_form),
            (ROUTING_ORDER, self.order),
            (ROUTING_CHOICES, self._choices),
        ):
            self.slots[slot] = address_of(array)
        self.select_all()

    @property
    def address(self) -> int:
        """Address of the record that kernels read."""
        return address_of(self.slots)

    def select_all(self) -> None:
        """Let the products work on all experts."""
        self.select_choices(range(self.top_k))
        self.select_experts(range(self.n_experts))

    def select_choices(self, choices: Sequence[int]) -> None:
        """Of a single token, let the products work on some of its choices."""
        self._choices[: len(choices)] = choices
        self.slots[ROUTING_N_CHOICES] = len(choices)

    def select_experts(self, experts: range) -> None:
        """Of several tokens, let the products work on some experts."""
        self.slots[ROUTING_FIRST_EXPERT], self.slots[ROUTING_LAST_EXPERT] = experts.start, experts.stop

    def n_bytes(self, n_tokens: int) -> int:
        """Memory of the choices of so many tokens."""
        of_token = self.top_k * (self.chosen.itemsize + self.weights.itemsize + self.order.itemsize)
        of_experts = self.offsets.nbytes + self.tile_offsets.nbytes + self.in_row_form.nbytes
        return n_tokens * of_token + of_experts

    def max_tiles(self, max_tokens: int) -> int:
        """Tiles that all experts' tokens can need: each expert's last tile may be part empty."""
        n = max_tokens * self.top_k
        return n // isa.current().tile + min(self.n_experts, n)


class Experts:
    """The gate, up and down matrices of a set of experts, and the table of their addresses."""

    def __init__(self, gate: list[Matrix], up: list[Matrix], down: list[Matrix]) -> None:
        self.gate, self.up, self.down = gate[0], up[0], down[0]
        self._matrices = (gate, up, down)
        rows = zip(gate, up, down, strict=True)
        self.table = copy_of([[m.address for m in row] for row in rows], np.int64)

    @property
    def address(self) -> int:
        """Address of the record that kernels read."""
        return address_of(self.table)
