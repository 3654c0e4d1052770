"""How well the experts of each layer were seen by the texts of an importance matrix."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .importance import Importance

EXPERTS = re.compile(r"blk\.(\d+)\..*_exps\.weight")


@dataclass(frozen=True)
class LayerCoverage:
    """Of a layer's experts: how many there are and were seen, and the tokens that went to them.

    least, mean: of the experts that were seen.
    """

    layer: int
    n_experts: int
    n_seen: int
    least: int
    mean: float

    @property
    def share(self) -> float:
        """Of the experts, those that were seen."""
        return self.n_seen / self.n_experts


def coverage(importance: Importance) -> list[LayerCoverage]:
    """Each layer with routed experts, in order. Of its tensors the one that was seen least counts."""
    counts: dict[int, np.ndarray] = {}
    for name, found in importance.tensors.items():
        if (named := EXPERTS.fullmatch(name)) and len(found.counts) > 1:
            layer = int(named[1])
            known = counts.get(layer, found.counts)
            counts[layer] = np.minimum(known, found.counts) if len(known) == len(found.counts) else known
    return [_of_layer(layer, counts[layer]) for layer in sorted(counts)]


def _of_layer(layer: int, counts: np.ndarray) -> LayerCoverage:
    seen = counts[counts > 0]
    least, mean = (int(seen.min()), float(seen.mean())) if len(seen) else (0, 0.0)
    return LayerCoverage(layer, len(counts), len(seen), least, mean)
