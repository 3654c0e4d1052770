"""A model's experts as the model sees them: set up, described, warmed, closed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..gguf import GGUFFile
from ..memory_plan import MemoryPlan, Needs
from .disk import Disk
from .expert_layer import ExpertLayer
from .offload import ExpertOffload
from .placement import Placement, place_experts
from .profile import likeliest, load_profile, profile_path, save_profile
from .statistics import ExpertStatistics

STACKED = re.compile(r"blk\.\d+\.ffn_(gate|up|gate_up|down)_exps\.weight")


def expert_bytes(file: GGUFFile, block: int | None = None) -> int:
    """Bytes of a file's routed experts, of all layers or of one."""
    prefix = "" if block is None else f"blk.{block}."
    return sum(
        info.n_bytes
        for name, info in file.tensors.items()
        if STACKED.fullmatch(name) and name.startswith(prefix)
    )


class OffloadedExperts:
    """The experts of a model of which not all are in memory.

    disk: where the weights are read from.
    """

    def __init__(self, file: GGUFFile, plan: MemoryPlan, needs: Needs) -> None:
        self.disk = Disk(file.paths)
        self._plan, self._needs = plan, needs
        self._profile = profile_path(file.identity)
        self._offload: ExpertOffload | None = None
        self._placement: Placement | None = None

    def place(self, layers: Sequence[ExpertLayer]) -> ExpertOffload:
        """Take the memory for the experts of some layers, and begin to read the likeliest ones.

        Raises GlmqError when the budget is too small.
        """
        offload, self._placement = place_experts(layers, self.disk, self._plan, self._needs)
        self._offload = offload
        offload.warm(likeliest(load_profile(self._profile, *offload.uses.shape)))
        return offload

    @property
    def placement(self) -> Placement:
        """What came of the budget."""
        assert self._placement is not None, "place the experts first"
        return self._placement

    @property
    def statistics(self) -> ExpertStatistics:
        """Counts since the model was loaded."""
        assert self._offload is not None, "place the experts first"
        return self._offload.statistics

    @property
    def n_arriving(self) -> int:
        """Experts that are on their way to memory now."""
        return 0 if self._offload is None else self._offload.n_arriving

    def close(self) -> None:
        """End reading, and keep for the next start what was used."""
        if self._offload is not None:
            # Another process may have written a profile meanwhile.
            earlier = load_profile(self._profile, *self._offload.uses.shape)
            save_profile(self._profile, earlier, self._offload.uses)
        self.disk.close()
