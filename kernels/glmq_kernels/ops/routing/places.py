"""The places of a batch's assignments, sorted by expert, as kernels go through them.

A run may be for some only of the experts (`Routing.select_choices`, `select_experts`).
"""

from __future__ import annotations

from ...simd.addresses import argument, inline, load_i64
from .record import (
    ROUTING_CHOICES,
    ROUTING_CHOSEN,
    ROUTING_FIRST_EXPERT,
    ROUTING_IN_ROW_FORM,
    ROUTING_LAST_EXPERT,
    ROUTING_N_CHOICES,
    ROUTING_OFFSETS,
    ROUTING_ORDER,
    ROUTING_TILE_OFFSETS,
    ROUTING_TOP_K,
)


@inline
def n_entries(routing, n):
    """How many experts there are to look at: those chosen by a single token, or a range of all."""
    if not routing:
        return 1
    if n == 1:
        return argument(routing, ROUTING_N_CHOICES)
    return argument(routing, ROUTING_LAST_EXPERT) - argument(routing, ROUTING_FIRST_EXPERT)


@inline
def entry(routing, i, n, in_row_form):
    """Of the i-th: expert, first place of its tokens, their number, how many in the row form, first tile.

    A single token's experts are its choices, which stand in the order of their numbers as the places of
    several tokens do.
    """
    if not routing:
        return 0, 0, n, in_row_form, 0
    if n == 1:
        choice = load_i64(argument(routing, ROUTING_CHOICES) + 8 * i)
        return load_i64(argument(routing, ROUTING_CHOSEN) + 8 * choice), choice, 1, 1, 0
    expert = argument(routing, ROUTING_FIRST_EXPERT) + i
    offsets = argument(routing, ROUTING_OFFSETS) + 8 * expert
    first = load_i64(offsets)
    return (
        expert,
        first,
        load_i64(offsets + 8) - first,
        load_i64(argument(routing, ROUTING_IN_ROW_FORM) + 8 * expert),
        load_i64(argument(routing, ROUTING_TILE_OFFSETS) + 8 * expert),
    )


@inline
def assignment_at(routing, place, n):
    """The assignment (token * top_k + choice) that stands at a place."""
    if n == 1:
        return place
    return load_i64(argument(routing, ROUTING_ORDER) + 8 * place)


@inline
def token_at(routing, place, n):
    if routing:
        return assignment_at(routing, place, n) // argument(routing, ROUTING_TOP_K)
    return place


@inline
def has_turn(after):
    """Whether a dense network takes part in a run: with the first of the routed experts that follow it.

    after: their routing, or 0 where none follow.
    """
    return not after or argument(after, ROUTING_FIRST_EXPERT) == 0
