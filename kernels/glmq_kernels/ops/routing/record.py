"""The routing of a batch: which expert works on which tokens (`kernel.py`): an int64 record."""

from __future__ import annotations

ROUTING_N_EXPERTS = 0
ROUTING_TOP_K = 1
ROUTING_CHOSEN = 2  # int64 (n_tokens, top_k) expert ids, those of a token in ascending order
ROUTING_WEIGHTS = 3  # float32 (n_tokens, top_k)
ROUTING_OFFSETS = 4  # int64 (n_experts + 1,): where each expert's assignments begin, sorted by expert
ROUTING_TILE_OFFSETS = (
    5  # int64 (n_experts + 1,): where each expert's tiles begin, of those in the panel form
)
ROUTING_ORDER = 6  # int64 (n_tokens * top_k,): assignment (token * top_k + choice) at each sorted place
ROUTING_CHOICES = 7  # int64 (top_k,): which choices of a single token the products work on
ROUTING_N_CHOICES = 8
ROUTING_FIRST_EXPERT = 9  # which experts gate_up and down work on for several tokens
ROUTING_LAST_EXPERT = 10
ROUTING_IN_ROW_FORM = (
    11  # int64 (n_experts,): how many of each expert's assignments, the first, take the row form
)
ROUTING_SLOTS = 16
