"""Plans the work of attention for one run: which items there are, and in what order threads take them.

Long sequences are cut by position, but only where there would be too few items to keep all threads busy.
Then partial results are kept, of at most `PARTIAL_SLOTS` tokens and parts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...arrays import address_of, aligned_zeros, guarded, zeros
from ...jit import isa
from ..batch_state import (
    ATTENTION_IS_WHOLE,
    ATTENTION_SLOTS,
    ATTENTION_WORK,
    N_ATTEND_TOKENS,
    N_ATTENTION_WORK,
    N_PROMPT_WORK,
    N_ROW_TOKENS,
    PROMPT_WORK,
)
from ..expanded_attention.sizes import LatentSizes
from ..expanded_attention.work_list import expanded_work
from ..panel_attention.work_list import panel_work, panels_pay
from ..prompt_item import PromptItem
from .cache_layout import CacheShape
from .work_list import (
    MOST_PARTS,
    PARTIAL_SLOTS,
    SMALLEST_PART,
    WorkItem,
    groups_of_item,
    part_positions,
)

SMALL = 8
"""Threads keep busy to the end without more ado where no unit is more than this part of a thread's share."""
CUT = 4
"""Otherwise units are cut until they are no more than this part of it."""


class Segment(NamedTuple):
    """Tokens of one sequence whose positions follow each other and have parts of one size.

    first: the first one's place in the run. position: its position.
    """

    first: int
    n_tokens: int
    position: int


class Whole(NamedTuple):
    """An item before it is cut: its cost in rows times positions, rows, and parts that its last row sees."""

    cost: int
    first_row: int
    last_row: int
    n_parts: int


class AttentionPlanner:
    """Plans runs of a tape whose layers all have the same heads, and holds what they share.

    heads: query heads of a kv head. group_rows: query rows that kernels multiply at once. partial: memory of
    partial results, float32 (PARTIAL_SLOTS, n_heads, 2 + value_dim) as bytes, which the system hands out as
    it is first written. latent: sizes of latent attention whose rows can be expanded, where it is that.
    in_panels: whether prompts' keys and values become panels (`ops/panel_attention/`).
    The last plan is kept, because the tape's state has only its addresses.
    """

    def __init__(
        self, shape: CacheShape, n_heads: int, n_threads: int, latent: LatentSizes | None = None
    ) -> None:
        self.shape, self.n_heads, self.n_threads, self.latent = shape, n_heads, n_threads, latent
        self.heads = n_heads // shape.n_kv_heads
        # The largest groups with the fewest repeated rows.
        self.group_rows = min(
            isa.current().attention_rows, key=lambda size: (-(-self.heads // size) * size, -size)
        )
        self.in_panels = panels_pay(shape, self.heads)
        self.partial = aligned_zeros(PARTIAL_SLOTS * n_heads * (shape.value_dim + 2) * 4)
        self._work = zeros((0, len(WorkItem)), np.int64)
        self._slots = zeros(0, np.int64)
        self._prompts = zeros((0, len(PromptItem)), np.int64)

    def plan(self, state: np.ndarray, positions: np.ndarray, page_tables: np.ndarray) -> None:
        """Write the plan of a run into a tape's state.

        positions, page_tables: int64 (n_tokens,), as in the state, which says how many take the row form.
        """
        self._prompts = guarded(self._prompt_work(positions, page_tables, int(state[N_ROW_TOKENS])))
        n = min(self._prompts[:, PromptItem.FIRST_TOKEN], default=len(positions))
        state[N_ATTEND_TOKENS] = n
        state[PROMPT_WORK], state[N_PROMPT_WORK] = address_of(self._prompts), len(self._prompts)
        self._work, self._slots = self.work_list(segments(positions[:n], page_tables[:n]))
        state[ATTENTION_WORK], state[N_ATTENTION_WORK] = address_of(self._work), len(self._work)
        state[ATTENTION_SLOTS] = address_of(self._slots)
        state[ATTENTION_IS_WHOLE] = n == len(positions) == 1 and self._slots[0] < 0

    def _prompt_work(self, positions: np.ndarray, page_tables: np.ndarray, n_rows: int) -> np.ndarray:
        """Items of the last tokens, which none of the first `n_rows` are; none where there are few."""
        if self.latent:
            return expanded_work(self.latent, positions, page_tables, n_rows, self.n_threads)
        if self.in_panels:
            n_kv_heads = self.shape.n_kv_heads
            return panel_work(self.heads, n_kv_heads, positions, page_tables, n_rows, self.n_threads)
        return zeros((0, len(PromptItem)), np.int64)

    def work_list(self, batch: list[Segment]) -> tuple[np.ndarray, np.ndarray]:
        """Items, int64 (n, fields), the longest first, and int64 (n_tokens,): first slots, or -1."""
        wholes = [self._wholes(segment) for segment in batch]
        most = self._most_cost([item.cost for items in wholes for item in items]) if wholes else 0
        slots: list[int] = []
        n_slots = 0
        found: list[tuple[int, int, int, int, int]] = []
        for segment, items in zip(batch, wholes, strict=True):
            n_parts, largest = items[-1].n_parts, max(item.cost for item in items)
            each, wanted = n_parts, segment.n_tokens * n_parts
            if largest > most and n_slots + wanted <= PARTIAL_SLOTS:
                each = max(1, int(n_parts * most / largest))
            if each < n_parts:
                slots += range(n_slots, n_slots + wanted, n_parts)
                n_slots += wanted
            else:
                slots += [-1] * segment.n_tokens
            for item in items:
                for part in range(0, item.n_parts, each):
                    end = min(part + each, item.n_parts)
                    cost = item.cost * (end - part) // item.n_parts
                    found.append((cost, item.first_row, item.last_row, part, end))
        found.sort(reverse=True)
        work = np.array([item[1:] for item in found], np.int64).reshape(len(found), len(WorkItem))
        return guarded(work), guarded(np.array(slots, np.int64))

    def _wholes(self, segment: Segment) -> list[Whole]:
        """The items of a segment, all parts in one: of as equal numbers of groups as can be."""
        first_row, n_rows = segment.first * self.heads, segment.n_tokens * self.heads
        n_groups = -(-n_rows // self.group_rows)
        n_items = -(-n_groups // groups_of_item(self.shape.values_in_keys))
        rows = -(-n_groups // n_items) * self.group_rows
        size = part_positions(segment.position + segment.n_tokens)
        found = []
        for first in range(0, n_rows, rows):
            last = min(first + rows, n_rows)
            n_positions = segment.position + (last - 1) // self.heads + 1
            cost = (last - first) * n_positions
            found.append(Whole(cost, first_row + first, first_row + last, -(-n_positions // size)))
        return found

    def _most_cost(self, costs: list[int]) -> float:
        """What a unit may cost before it is cut. A unit is an item of one kv head."""
        n_kv_heads = self.shape.n_kv_heads
        share, largest = sum(costs) * n_kv_heads / self.n_threads, max(costs)
        comes_out_even = largest == min(costs) and len(costs) * n_kv_heads % self.n_threads == 0
        keeps_busy = self.n_threads == 1 or comes_out_even or largest <= share / SMALL
        return math.inf if keeps_busy else share / CUT


def segments(positions: np.ndarray, page_tables: np.ndarray) -> list[Segment]:
    """The segments of a run, in its order."""
    places, tables = positions.tolist(), page_tables.tolist()
    found, first = [], 0
    for t in range(1, len(places) + 1):
        if (
            t == len(places)
            or tables[t] != tables[first]
            or places[t] != places[t - 1] + 1
            or (places[t] % (SMALLEST_PART * MOST_PARTS) == 0 and _parts_change(places[t]))
        ):
            found.append(Segment(first, t - first, places[first]))
            first = t
    return found


def _parts_change(position: int) -> bool:
    """Whether parts are longer for a position than for the one before."""
    return bool(part_positions(position + 1) != part_positions(position))
