"""What the planner of attention and its kernels agree on: items of work, and how positions are cut.

The query rows of a kv head are its query heads of one token after the other: row r of a run is head
`r % heads` of token `r // heads`. An *item* is a few rows of one sequence and a range of *parts* of the
positions that they see; each kv head has the same items.

Where parts begin depends on a token's own position only, each part is a softmax of its own, and parts are
merged in order. So a token's result is the same bits whoever works out how many of its parts.
"""

from __future__ import annotations

from enum import IntEnum

CHUNK = 64
"""Positions between two corrections of the sums of attention, a multiple of 32."""
SMALLEST_PART = 512
"""Positions of a part, in a sequence of up to `MOST_PARTS` parts."""
MOST_PARTS = 32
"""Where a sequence is longer than so many parts, parts are twice as long, and so on."""
PARTIAL_SLOTS = 8 * MOST_PARTS
"""Partial results of a token and part that there is room for: all parts of eight tokens."""


class WorkItem(IntEnum):
    """Fields of an item, int64."""

    FIRST_ROW = 0
    LAST_ROW = 1  # exclusive
    FIRST_PART = 2
    LAST_PART = 3  # exclusive


ITEM_BYTES = 8 * len(WorkItem)


def part_positions(n_positions: int) -> int:
    """Positions of a part for a token that sees `n_positions`. Kernels compile it too."""
    size = SMALLEST_PART
    while size * MOST_PARTS < n_positions:
        size *= 2
    return size


def groups_of_item(values_in_keys: bool) -> int:
    """Groups of query rows that meet a chunk of positions one after the other.

    More where a chunk's keys are turned first, which is done once for all of them.
    """
    return 8 if values_in_keys else 4
