"""What a model predicts for the counted positions of chunks, by parts that memory has room for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from .chunks import Chunks

if TYPE_CHECKING:
    from ..model import Model
    from ..session import Session

LOGITS_BYTES = 320_000_000
"""Logits that are in memory at once: 256 positions of a vocabulary of 154,880 tokens are 159 MB."""


@dataclass(frozen=True)
class ChunkLogits:
    """Some of a chunk's counted predictions, in order.

    chunk: its number. row: of the first of them among the counted ones. logits: float32 (n, n_vocab).
    following: the tokens that came, int64 (n,).
    """

    chunk: int
    row: int
    logits: np.ndarray
    following: np.ndarray


def chunk_logits(model: Model, chunks: Chunks) -> Iterator[ChunkLogits]:
    """The counted predictions of all chunks, chunk by chunk, each in order.

    As many chunks as the model's batch holds are read at once, which reads experts less often. Raises
    ContextFull when the model's context is smaller than a chunk.
    """
    model.session().require_room(chunks.n_ctx)
    n_at_once = _chunks_at_once(model, chunks)
    numbers = iter(range(len(chunks)))
    with ThreadPoolExecutor(n_at_once) as threads:
        while group := list(islice(numbers, n_at_once)):
            sessions = [model.session() for _ in group]
            if len(group) > 1:
                list(threads.map(lambda s, i: s.evaluate(chunks.read(i)[: chunks.first]), sessions, group))
            yield from _second_halves(threads, sessions, group, chunks, model.n_vocab)


def _second_halves(
    threads: ThreadPoolExecutor, sessions: list[Session], group: list[int], chunks: Chunks, n_vocab: int
) -> Iterator[ChunkLogits]:
    """The counted predictions of chunks, as many chunks at once as there is room for their logits."""
    most_rows = max(1, LOGITS_BYTES // (4 * n_vocab))
    at_once = max(1, most_rows // (2 * chunks.n_counted))  # the engine copies those of several sequences
    for first in range(0, len(group), at_once):
        some = group[first : first + at_once]
        if len(some) > 1:
            found = threads.map(lambda s, i: _rest(s, i, chunks), sessions[first : first + at_once], some)
            for chunk, logits in zip(some, found, strict=True):
                yield ChunkLogits(chunk, 0, logits, chunks.following(chunk))
        else:
            yield from _by_parts(sessions[first], some[0], chunks, most_rows)


def _rest(session: Session, chunk: int, chunks: Chunks) -> np.ndarray:
    """All counted predictions of a chunk of which the session holds a beginning."""
    return session.evaluate_all(chunks.read(chunk)[len(session.tokens) :], n_last=chunks.n_counted)


def _by_parts(session: Session, chunk: int, chunks: Chunks, most_rows: int) -> Iterator[ChunkLogits]:
    tokens, following = chunks.read(chunk), chunks.following(chunk)
    for row in range(0, chunks.n_counted, most_rows):
        n = min(most_rows, chunks.n_counted - row)
        up_to_them = tokens[len(session.tokens) : chunks.first + row + n]
        yield ChunkLogits(chunk, row, session.evaluate_all(up_to_them, n_last=n), following[row : row + n])


def _chunks_at_once(model: Model, chunks: Chunks) -> int:
    """How many chunks a batch holds, and the KV cache has memory for."""
    cache = model.kv_cache
    pages_of_a_chunk = -(-chunks.n_ctx // cache.page_positions)
    return max(1, min(model.batch // chunks.n_ctx, cache.n_pages // pages_of_a_chunk, len(chunks)))
