"""Which experts stay in memory: in each layer those that were used most, what is past counting less and less.

A token asks every layer for experts in turn, so with less room than one token's experts of all layers the
least recently used of all would always be one that the next token reaches before any that stays, and
nothing would ever be found. Each layer therefore has an equal share of the slots. `bench/expert_cache.py`
compares this with recency and others.
"""

from __future__ import annotations

from collections.abc import Iterable

Expert = tuple[int, int]
"""Layer (counted among those with experts) and number."""

HALF_LIFE = 16
"""Tokens after which a use counts half."""


class ExpertCache:
    """The slots and which expert is in which."""

    def __init__(self, n_layers: int, n_experts: int, n_slots: int) -> None:
        """n_experts: of each layer."""
        self.n_layers, self.n_experts, self.n_slots = n_layers, n_experts, n_slots
        self._held: list[dict[int, int]] = [{} for _ in range(n_layers)]
        self._uses = [[0.0] * n_experts for _ in range(n_layers)]
        self._weight = 1.0
        self._free: list[list[int]] = [[] for _ in range(n_layers)]
        for slot in range(min(n_slots, n_layers * n_experts)):
            self._free[slot % n_layers].append(slot)

    def count_tokens(self, n: int) -> None:
        """Let time pass: what was used before now counts less beside what is used next."""
        self._weight *= 2.0 ** (n / HALF_LIFE)
        if self._weight > 1e100:
            self._uses = [[use / self._weight for use in layer] for layer in self._uses]
            self._weight = 1.0

    def use(self, expert: Expert, share: float = 1.0) -> int | None:
        """Count a use by this `share` of the last tokens; gives the slot where the expert is."""
        layer, number = expert
        self._uses[layer][number] += share * self._weight
        return self._held[layer].get(number)

    def expect(self, expert: Expert, uses: float) -> None:
        """Count uses of an earlier session, which weigh less than any of this one."""
        self._uses[expert[0]][expert[1]] += 1e-9 * uses

    def uses(self, expert: Expert) -> float:
        """How much an expert has been used, beside others of its layer."""
        return self._uses[expert[0]][expert[1]]

    def slot(self, expert: Expert) -> int | None:
        """Where an expert is."""
        return self._held[expert[0]].get(expert[1])

    def admit(self, expert: Expert, keep: Iterable[Expert] = ()) -> int | None:
        """A slot for an expert that has none; the least used one of its layer may have to go.

        None when all slots that it could have hold experts of `keep`.
        """
        slot = self._take_slot(expert[0], keep)
        if slot is not None:
            self._held[expert[0]][expert[1]] = slot
        return slot

    def exchange(self, expert: Expert, slot: int, keep: Iterable[Expert] = ()) -> int | None:
        """Let an expert have the slot that it is in already; gives the one that it would have got instead."""
        instead = self._take_slot(expert[0], keep)
        if instead is not None:
            self._held[expert[0]][expert[1]] = slot
        return instead

    def _take_slot(self, layer: int, keep: Iterable[Expert]) -> int | None:
        if self._free[layer]:
            return self._free[layer].pop()
        held, uses = self._held[layer], self._uses[layer]
        victims = held.keys() - {number for _, number in keep}
        return held.pop(min(victims, key=lambda number: (uses[number], number))) if victims else None

    def room(self, layer: int) -> int:
        """Free slots of a layer."""
        return len(self._free[layer])

    def of_layer(self, layer: int) -> list[Expert]:
        """The experts of a layer that are in slots."""
        return [(layer, number) for number in self._held[layer]]

    def held(self) -> list[tuple[Expert, int]]:
        """The experts that are in slots, and in which."""
        return [
            ((layer, number), slot) for layer, held in enumerate(self._held) for number, slot in held.items()
        ]

    def slots(self) -> set[int]:
        """All slots, used and free."""
        used = {slot for held in self._held for slot in held.values()}
        return used.union(*self._free)

    def forget(self, expert: Expert) -> None:
        """Free an expert's slot."""
        slot = self._held[expert[0]].pop(expert[1], None)
        if slot is not None:
            self._free[expert[0]].append(slot)

    def __len__(self) -> int:
        return sum(map(len, self._held))
