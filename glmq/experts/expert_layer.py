"""A layer's routed experts: where they lie in files and in memory, and their sections of the tape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glmq_kernels.disk_reads.disk_reader import Part, room_for
from glmq_kernels.ops.batch_part import BatchPart
from glmq_kernels.ops.operands import Experts, Routing


@dataclass(frozen=True)
class ExpertSections:
    """Names of the tape's sections of a layer, in the order of the tape; each ends where the next begins.

    prefetch: the next layer's routing, worked out here. after: what follows the layer.
    """

    prefetch: str
    shared_gate_up: str
    routed_gate_up: str
    down: str
    after: str

    @classmethod
    def of(cls, layer: str, after: str) -> ExpertSections:
        """Those of a layer such as `blk.3`."""
        return cls(
            prefetch=f"{layer}.prefetch",
            shared_gate_up=f"{layer}.shared_gate_up",
            routed_gate_up=f"{layer}.routed_gate_up",
            down=f"{layer}.down",
            after=after,
        )


@dataclass(frozen=True)
class ExpertLayer:
    """One layer's routed experts.

    index: among the layers that have experts. parts: gate, up and down of each expert. prefetch_routing:
    what the next layer's router would choose already here, None where nothing is prefetched. part: which
    tokens of a run the layer works on.
    """

    index: int
    parts: Sequence[tuple[Part, Part, Part]]
    experts: Experts
    part: BatchPart
    routing: Routing
    prefetch_routing: Routing | None
    sections: ExpertSections

    @property
    def room(self) -> int:
        """Memory that one expert takes."""
        matrices = (self.experts.gate, self.experts.up, self.experts.down)
        return sum(room_for(matrix.n_bytes) for matrix in matrices)
