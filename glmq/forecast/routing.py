"""How often the experts that a token wants are in memory, where not all of them are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..experts.profile import load_profile, profile_path
from ..gguf import GGUFFile
from .memory import MemoryForecast

ENOUGH_USES = 1000
"""Uses of experts in each layer from which on a profile says something of the next ones."""

NEAR_BEST = 0.9
"""Beyond an even share, so much of what the most used experts would be found is: those in memory change with
what is used."""

UNEVEN = 0.6
"""Where some experts are used much more than others, a share s of them has s ** UNEVEN of the uses."""


@dataclass(frozen=True)
class HitRates:
    """Shares of a token's experts that are in memory, 0 to 1. known: whether earlier use here tells."""

    low: float
    likely: float
    high: float
    known: bool


def hit_rates(file: GGUFFile | None, memory: MemoryForecast) -> HitRates:
    """What to expect: of a file that was used here what its profile says, else what even routing gives."""
    even = memory.n_kept / memory.n_experts if memory.n_experts else 1.0
    if even >= 1:
        return HitRates(1.0, 1.0, 1.0, True)
    uneven = even**UNEVEN
    if file is not None:
        layers = memory.program.expert_layers
        uses = load_profile(profile_path(file.identity), len(layers), layers[0].routing.n_experts)
        if uses.sum(axis=1).min() >= ENOUGH_USES:
            best = _share_of_most_used(uses, even)
            return HitRates(even, even + NEAR_BEST * (best - even), best, True)
    return HitRates(even, even, uneven, False)


def _share_of_most_used(uses: np.ndarray, share: float) -> float:
    """The part of all uses that a share of each layer's experts has, those that were used most."""
    n_experts = uses.shape[1]
    in_order = np.sort(uses, axis=1)[:, ::-1] / uses.sum(axis=1, keepdims=True)
    found = np.concatenate((np.zeros((len(uses), 1)), np.cumsum(in_order, axis=1)), axis=1).mean(axis=0)
    return float(np.interp(share * n_experts, np.arange(n_experts + 1), found))
