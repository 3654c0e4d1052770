"""A guide that follows a grammar with llguidance's parser."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
from glmq_kernels.errors import GlmqError
from llguidance import LLMatcher
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from ..tokenizer import Tokenizer
from .error_messages import one_line
from .grammar_compilation import compiled_matcher
from .kept_results import kept_by_tokenizer
from .token_table import llguidance_tokenizer, token_bytes, token_table

MAX_FORCED_BYTES = 1024
"""Text that is forced at a time. There are grammars that force text without an end."""


@kept_by_tokenizer
def _matcher(tokenizer: Tokenizer, grammar: str, what: str) -> LLMatcher:
    """A matcher at the beginning of a grammar, of which each guide gets a copy."""
    return compiled_matcher(grammar, what, llguidance_tokenizer(tokenizer))


class GrammarGuide:
    """Follows a grammar from its beginning. what: its name in messages.

    grammar: in llguidance's form, with the option `no_forcing`: its own search for forced text has no limit
    and holds Python's interpreter. Raises GlmqError when the grammar is refused.
    """

    def __init__(self, grammar: str, what: str, tokenizer: Tokenizer) -> None:
        form = llguidance_tokenizer(tokenizer)
        self._matcher = _matcher(tokenizer, grammar, what).deep_copy()
        self._what, self._tokenizer, self._table = what, tokenizer, token_table(tokenizer)
        self._can_look_ahead = "max_tokens" not in grammar
        self._bits: np.ndarray = allocate_token_bitmask(1, form.vocab_size)
        self._bits_are_known = False
        self._forced: list[int] | None = None
        self._last: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the grammar has come to its end."""
        return self._matcher.is_stopped()

    def forced(self) -> Sequence[int]:
        """Tokens of the text that the grammar leaves no choice about, as the tokenizer cuts it."""
        if self._forced is None:
            text, reach = self._forced_text() if self._can_look_ahead else (b"", [])
            self._forced = self._cut(text, reach) if text else []
        return self._forced

    def mask(self, logits: np.ndarray) -> None:
        """Rule out what the grammar does not allow; tokens that end a generation, where it may not end.

        Where text is forced, all ways to cut it into tokens are allowed.
        """
        self._know_bits()
        n_vocab = self._tokenizer.n_vocab
        bits = np.unpackbits(self._bits.view(np.uint8)[0], count=n_vocab, bitorder="little")
        np.copyto(logits[:n_vocab], -np.inf, where=bits == 0)
        logits[n_vocab:] = -np.inf

    def n_allowed(self, tokens: Sequence[int]) -> int:
        """How many of some tokens the grammar allows, by a copy, so that no limit reached there counts."""
        n_vocab = self._tokenizer.n_vocab
        known = list(takewhile(lambda token: token < n_vocab, tokens))
        return int(self._matcher.deep_copy().validate_tokens(known))

    def accept(self, token: int) -> None:
        """Go on behind a token. Raises GlmqError for one that the grammar does not allow."""
        rest = self._forced[1:] if self._forced and self._forced[0] == token else []
        self._forced, self._bits_are_known, self._last = rest or None, False, token
        self._matcher.consume_token(token)
        self._check()

    def _know_bits(self) -> None:
        """Work out the mask of this place, once."""
        if not self._bits_are_known:
            self._fill(self._bits)
            self._bits_are_known = True

    def _forced_text(self) -> tuple[bytes, list[int]]:
        """(bytes that must follow, how far a single token could reach from the place of each)."""
        self._know_bits()
        bits = self._bits
        text = bytearray()
        reach: list[int] = []
        while len(text) < MAX_FORCED_BYTES and not self.finished:
            if (found := self._only_byte(bits)) is None:
                break
            byte, longest = found
            reach.append(len(text) + longest)
            self._matcher.consume_token(int(self._table.single[byte]))
            self._check()
            text.append(byte)
            if not self.finished:
                bits = np.empty_like(self._bits) if bits is self._bits else bits
                self._fill(bits)
        if text:
            self._matcher.rollback(len(text))
            self._check()
        return bytes(text), reach

    def _only_byte(self, bits: np.ndarray) -> tuple[int, int] | None:
        """(the byte with which all allowed tokens begin, the bytes of the longest); None for several."""
        allowed = bits[0].view(np.uint32)
        words = np.flatnonzero(allowed)
        if not len(words):
            return None
        inside = np.unpackbits(allowed[words].view(np.uint8), bitorder="little").reshape(-1, 32)
        rows, columns = np.nonzero(inside[:1])
        text = token_bytes(self._tokenizer)[words[0] * 32 + columns[0]]
        if not text or self._table.single[text[0]] < 0:
            return None
        if np.any(allowed[words] & ~self._table.by_first_byte[text[0], words]):
            return None
        rows, columns = np.nonzero(inside)
        return text[0], int(self._table.n_bytes[words[rows] * 32 + columns].max())

    def _cut(self, text: bytes, reach: Sequence[int]) -> list[int]:
        """The tokens of forced text, up to the first that what follows might change."""
        whole = text.decode(errors="ignore")
        if not text.startswith(whole.encode()):
            return []
        texts = token_bytes(self._tokenizer)
        tokens: list[int] = []
        place = 0
        for token in self._tokens(whole):
            if not text.startswith(texts[token], place) or reach[place] > len(text):
                break
            tokens.append(token)
            place += len(texts[token])
        return tokens

    def _tokens(self, text: str) -> Sequence[int]:
        """The tokens of text behind the last token, as they are where both are one text if that can be."""
        if self._last is not None:
            try:
                before = token_bytes(self._tokenizer)[self._last].decode()
            except UnicodeDecodeError:
                before = ""
            tokens = self._tokenizer.encode(before + text, special=False, after_text=True)
            if tokens[:1] == [self._last]:
                return tokens[1:]
        return self._tokenizer.encode(text, special=False, after_text=True)

    def _fill(self, bits: np.ndarray) -> None:
        fill_next_token_bitmask(self._matcher, bits)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GlmqError(f"{self._what} cannot be followed further: {one_line(self._matcher.get_error())}")
