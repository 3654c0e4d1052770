"""The memory of routed experts: slots of one size, each for the gate, up and down matrix of one expert."""

from __future__ import annotations

import numpy as np
from glmq_kernels.arrays import address_of
from glmq_kernels.disk_reads.disk_reader import Part, aligned_memory, room_for

from .expert_layer import ExpertLayer


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
