"""Keys and values between the pages of the KV cache and those of a session file.

A page of a file is a page of the cache, as it is. Where one of both has rows of multi-token prediction and
the other has not, these are left out, or zeros: drafts then are poor at first, and all else is the same.
Older files have pages of 32 positions, with the keys of all layers and kv heads before the values of all.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

import numpy as np
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE, CacheShape

from .commit_file import Content, checksum, read_at
from .kv_cache.page_copy import copy_positions
from .kv_cache.sequence import Sequence
from .saved_state import OLD_PAGE_POSITIONS, SavedState

N_READERS = 8
"""Threads that read pages, however few the processors: while some wait for the disk, others take memory for
pages from the system, which is not much faster than a disk."""

ReadPage = Callable[[FileIO, int], bool]
"""Reads a page of a file, by its number, to where it belongs; gives whether it is sound."""


def page_to_write(sequence: Sequence, number: int) -> memoryview:
    """The bytes of a page. Positions that the sequence does not hold, which may be another's, are zeros."""
    page = sequence.pages[number].bytes
    n_held = len(sequence.tokens) - number * POSITIONS_PER_PAGE
    if n_held < POSITIONS_PER_PAGE:
        held = np.zeros_like(page)
        copy_positions(sequence.shape, page, held, n_held)
        page = held
    return page.data


def read_pages(path: Path, content: Content, state: SavedState, sequence: Sequence) -> int:
    """Fill an empty sequence with a saved state's tokens; gives how many are sound before damage begins."""
    sequence.wait_for_room(len(state.tokens))
    sequence.reserve(len(state.tokens))
    try:
        read = (_reader if state.is_current else _old_reader)(content, state.cache, sequence)
        n_pages = _n_sound(path, read, min(state.n_pages, len(content.pages)))
        n_sound = min(n_pages * state.page_positions, len(state.tokens))
        sequence.extend(state.tokens[:n_sound])
    finally:
        sequence.rewind(len(sequence.tokens))  # gives reserved pages back
    return n_sound


def _n_sound(path: Path, read: ReadPage, n_pages: int) -> int:
    """Read pages in several threads; gives how many come before the first that is not sound."""
    n_readers = max(1, min(N_READERS, n_pages))

    def read_from(first: int) -> int:
        """Every n_readers-th page; gives the first that is not sound."""
        with open(path, "rb", buffering=0) as file:
            for number in range(first, n_pages, n_readers):
                if not read(file, number):
                    return number
        return n_pages

    with ThreadPoolExecutor(n_readers) as pool:
        return min(pool.map(read_from, range(n_readers)))


def _reader(content: Content, held: CacheShape, sequence: Sequence) -> ReadPage:
    """held: what the file's pages hold."""
    if held == sequence.shape:
        return lambda file, number: _read(file, content, number, sequence.pages[number].bytes)
    n_shared = held.trunk.page_bytes

    def read(file: FileIO, number: int) -> bool:
        page, target = np.empty(held.page_bytes, np.uint8), sequence.pages[number].bytes
        is_sound = _read(file, content, number, page)
        target[:n_shared], target[n_shared:] = page[:n_shared], 0
        return is_sound

    return read


def _old_reader(content: Content, shape: CacheShape, sequence: Sequence) -> ReadPage:
    """Of files with pages of 32 positions. shape: of what these hold."""
    n_heads, n_parts = shape.n_layers * shape.n_kv_heads, POSITIONS_PER_PAGE // OLD_PAGE_POSITIONS

    def read(file: FileIO, number: int) -> bool:
        old = np.empty(OLD_PAGE_POSITIONS * shape.position_bytes, np.uint8)
        if not _read(file, content, number, old):
            return False
        whole = sequence.pages[number // n_parts].bytes
        whole[shape.page_bytes :] = 0
        page = whole[: shape.page_bytes].reshape(n_heads, -1)
        first = 0
        for at, n_bytes in _old_places(shape, number % n_parts):
            page[:, at : at + n_bytes] = old[first : first + n_heads * n_bytes].reshape(n_heads, -1)
            first += n_heads * n_bytes
        return True

    return read


def _old_places(shape: CacheShape, part: int) -> list[tuple[int, int]]:
    """Where in a kv head's part of a page keys and values of an older page lie, and their bytes."""
    keys, values = (OLD_PAGE_POSITIONS * n_bytes for n_bytes in (shape.key_bytes, shape.value_bytes))
    return [(part * keys, keys), (POSITIONS_PER_PAGE * shape.key_bytes + part * values, values)]


def _read(file: FileIO, content: Content, number: int, page: np.ndarray) -> bool:
    unit, expected = content.pages[number]
    return read_at(file, content.commit.position(unit), page.data) and checksum(page.data) == expected
