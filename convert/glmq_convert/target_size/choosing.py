"""Of all ways to give tensors types under a budget of bytes, the one of least cost."""

from __future__ import annotations

from collections.abc import Mapping

Choice = dict[str, str]
"""Types by names of tensors."""

HALVINGS = 100
"""Steps in which the price of a byte is found."""


def cheapest_types(
    costs: Mapping[str, Mapping[str, float]], n_bytes: Mapping[str, Mapping[str, int]], budget: int
) -> Choice | None:
    """A type for each tensor, so that the sum of costs is least and that of bytes within the budget.

    costs, n_bytes: by tensor and type. None when the smallest types take more than the budget.

    Bytes get a price at which cost and price together are least just within the budget (a Lagrange
    multiplier); what is left of the budget goes, step by step, to the change that gains most for a byte.
    """
    chosen = {name: min(sizes, key=lambda t: (sizes[t], costs[name][t])) for name, sizes in n_bytes.items()}
    if _total(chosen, n_bytes) > budget:
        return None
    low, high = 0.0, _highest_price(costs, n_bytes)
    for _ in range(HALVINGS):
        price = (low + high) / 2
        at_price = {
            name: min(known, key=lambda t: known[t] + price * n_bytes[name][t])
            for name, known in costs.items()
        }
        if _total(at_price, n_bytes) <= budget:
            chosen, high = at_price, price
        else:
            low = price
    return _spend_the_rest(chosen, costs, n_bytes, budget)


def _total(chosen: Choice, n_bytes: Mapping[str, Mapping[str, int]]) -> int:
    return sum(n_bytes[name][type_name] for name, type_name in chosen.items())


def _highest_price(
    costs: Mapping[str, Mapping[str, float]], n_bytes: Mapping[str, Mapping[str, int]]
) -> float:
    """A price at which every tensor takes its smallest type."""
    dearest = max(max(known.values()) for known in costs.values())
    differences = [
        abs(one - other) for sizes in n_bytes.values() for one in sizes.values() for other in sizes.values()
    ]
    return dearest / max(1, min((each for each in differences if each), default=1))


def _spend_the_rest(
    chosen: Choice,
    costs: Mapping[str, Mapping[str, float]],
    n_bytes: Mapping[str, Mapping[str, int]],
    budget: int,
) -> Choice:
    """Better types for some tensors, as long as there is room for one."""
    chosen = dict(chosen)
    left = budget - _total(chosen, n_bytes)
    while True:
        steps = [
            ((costs[name][now] - cost) / max(1, more), name, type_name, more)
            for name, now in chosen.items()
            for type_name, cost in costs[name].items()
            if cost < costs[name][now] and (more := n_bytes[name][type_name] - n_bytes[name][now]) <= left
        ]
        if not steps:
            return chosen
        _, name, type_name, more = max(steps)
        chosen[name] = type_name
        left -= more
