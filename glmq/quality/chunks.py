"""A text in chunks of equal length, each of which a model reads alone, as llama.cpp's perplexity has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from glmq_kernels.errors import GlmqError

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

DEFAULT_CONTEXT = 512
"""Tokens of a chunk. Values of other lengths cannot be compared with those of this one."""

LEAST_CONTEXT = 8


@dataclass(frozen=True)
class Chunks:
    """A text's chunks, int32 (n_chunks, n_ctx); each is read from position 0.

    begins_with: a token that the model gets in place of the first of each chunk, or None.

    Predictions count from the chunk's middle on, where the model knows half a chunk at least:

        position     0 ................. first ................... n_ctx - 1
        predicted                        first + 1 ............... n_ctx - 1
    """

    tokens: np.ndarray
    begins_with: int | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def n_ctx(self) -> int:
        """Tokens of a chunk."""
        return int(self.tokens.shape[1])

    @property
    def first(self) -> int:
        """The first position whose logits count."""
        return self.n_ctx // 2

    @property
    def n_counted(self) -> int:
        """Predictions of a chunk that count."""
        return self.n_ctx - 1 - self.first

    def read(self, chunk: int) -> list[int]:
        """What the model reads of a chunk: its last token is only predicted."""
        tokens: list[int] = self.tokens[chunk, :-1].tolist()
        return tokens if self.begins_with is None else [self.begins_with, *tokens[1:]]

    def following(self, chunk: int) -> np.ndarray:
        """The tokens that the counted predictions should be, int64 (n_counted,)."""
        return self.tokens[chunk, self.first + 1 :].astype(np.int64)


def chunks_of_text(
    tokenizer: Tokenizer,
    text: str,
    n_ctx: int = DEFAULT_CONTEXT,
    max_chunks: int | None = None,
    *,
    special: bool = False,
) -> Chunks:
    """The whole chunks of a text, at most `max_chunks`. Raises GlmqError when it has fewer than two.

    special: names of special tokens in it stand for these tokens, as in conversations that a chat template
    has written; llama-perplexity takes them as text.
    """
    begins_with = tokenizer.bos_id if tokenizer.add_bos else None
    tokens = tokenizer.encode(text, special=special, add_bos=tokenizer.add_bos)
    return chunks_of(tokens, n_ctx, max_chunks, begins_with)


def chunks_of(
    tokens: Sequence[int],
    n_ctx: int = DEFAULT_CONTEXT,
    max_chunks: int | None = None,
    begins_with: int | None = None,
) -> Chunks:
    """The whole chunks of tokens, at most `max_chunks`. Raises GlmqError when there are fewer than two."""
    if n_ctx < LEAST_CONTEXT:
        raise GlmqError(
            f"chunks of {n_ctx} tokens are too short; {LEAST_CONTEXT} are the least", setting="n_ctx"
        )
    if len(tokens) < 2 * n_ctx:
        raise GlmqError(
            f"the text has {len(tokens)} tokens; perplexity needs {2 * n_ctx}, two chunks of {n_ctx},"
            " at least: give a longer text",
            setting="n_ctx",
        )
    n_chunks = len(tokens) // n_ctx
    if max_chunks is not None:
        n_chunks = min(n_chunks, max_chunks)
    return Chunks(np.array(tokens[: n_chunks * n_ctx], np.int32).reshape(n_chunks, n_ctx), begins_with)
