"""The memory of routed experts: slots of one size, each for the gate, up and down matrix of one expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from glmq_kernels.arrays import address_of
from glmq_kernels.disk_reads.disk_reader import Part, aligned_memory, room_for
from glmq_kernels.ops.operands import Experts, Routing


@dataclass(frozen=True)
class ExpertLayer:
    """One layer's routed experts: where they lie in files, the kernels' table, and its place on the tape.

    index: among the layers that have experts. parts: gate, up and down of each expert. guess: the routing
    that the next layer's router would choose already here. The operations, by number:

        after_routing   what follows the routing: the guess
        shared          the shared experts' gate and up product
        gate_up         the routed experts' gate and up product
        gate_up + 1     the shared experts' down product
        down            the routed experts' down product
        end             the next layer's first
    """

    index: int
    parts: Sequence[tuple[Part, Part, Part]]
    experts: Experts
    routing: Routing
    guess: Routing | None
    after_routing: int
    shared: int
    gate_up: int
    down: int
    end: int

    @property
    def room(self) -> int:
        """Memory that one expert takes."""
        return sum(room_for(part.n_bytes) for part in self.parts[0])


class Slab:
    """Slots of the size that the largest expert needs."""

    def __init__(self, n_slots: int, slot_bytes: int) -> None:
        self.n_slots, self.slot_bytes = n_slots, slot_bytes
        self.memory: np.ndarray = aligned_memory(n_slots * slot_bytes)

    def parts(self, layer: ExpertLayer, expert: int, slot: int) -> list[tuple[Part, int]]:
        """An expert's parts, each with the address of its room in a slot."""
        room = address_of(self.memory) + slot * self.slot_bytes
        placed = []
        for part in layer.parts[expert]:
            placed.append((part, room))
            room += room_for(part.n_bytes)
        return placed
