"""Items of work of prompts' attention, which planners and kernels agree on."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np


class PromptItem(IntEnum):
    """Fields of an item, int64: tokens of one sequence whose positions follow each other."""

    FIRST_TOKEN = 0
    LAST_TOKEN = 1  # exclusive


ITEM_BYTES = 8 * len(PromptItem)


def sequences_backwards(positions: np.ndarray, page_tables: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where each sequence's tokens begin and end in a run, the last sequence first."""
    last = len(positions)
    is_first = np.ones(last, bool)
    is_first[1:] = (page_tables[1:] != page_tables[:-1]) | (positions[1:] != positions[:-1] + 1)
    for first in np.flatnonzero(is_first)[::-1].tolist():
        yield first, last
        last = first


def as_items(items: list[tuple[int, int]], positions: np.ndarray) -> np.ndarray:
    """First and last tokens as items, int64 (n, fields); those that cost most first."""
    items = sorted(items, key=lambda item: (item[1] - item[0]) * int(positions[item[1] - 1]), reverse=True)
    return np.array(items, np.int64).reshape(len(items), len(PromptItem))
