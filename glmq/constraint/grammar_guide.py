"""A guide that follows a grammar with llguidance's parser."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from glmq_kernels.errors import UserError
from llguidance import LLMatcher, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask


class GrammarGuide:
    """Follows a grammar from its beginning. n_vocab: tokens of the model that have a text.

    Raises UserError when the grammar, which `what` names, is refused.
    """

    def __init__(self, grammar: str, what: str, tokenizer: LLTokenizer, n_vocab: int) -> None:
        self._matcher = LLMatcher(tokenizer, grammar, log_level=0)
        if self._matcher.is_error():
            raise UserError(f"{what} is refused: {one_line(self._matcher.get_error())}")
        self._n_vocab = n_vocab
        self._bits = allocate_token_bitmask(1, tokenizer.vocab_size)

    @property
    def finished(self) -> bool:
        """Whether the grammar has come to its end."""
        return self._matcher.is_stopped()

    def forced(self) -> Sequence[int]:
        """Tokens of the text that the grammar leaves no choice about, as the tokenizer cuts it."""
        return self._matcher.compute_ff_tokens()

    def mask(self, logits: np.ndarray) -> None:
        """Rule out what the grammar does not allow; tokens that end a generation, where it may not end."""
        fill_next_token_bitmask(self._matcher, self._bits)
        self._check()
        bits = np.unpackbits(self._bits.view(np.uint8)[0], count=self._n_vocab, bitorder="little")
        np.copyto(logits[: self._n_vocab], -np.inf, where=bits == 0)
        logits[self._n_vocab :] = -np.inf

    def accept(self, token: int) -> None:
        """Go on behind a token. Raises UserError for one that the grammar does not allow."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise UserError(
                f"the constraint cannot be followed further: {one_line(self._matcher.get_error())}"
            )


def one_line(message: str) -> str:
    """What a message of llguidance says, without the state of its parser and the pictures of places."""
    text, _, _ = message.partition("\n<state>")
    lines = [line.strip() for line in text.splitlines() if not re.match(r"\s*(\d+ \||\^)", line)]
    return " ".join(line for line in lines if line)
