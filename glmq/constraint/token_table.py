"""A tokenizer as llguidance wants it: the bytes of every token, and which tokens are no text."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_bytes: WeakKeyDictionary[Tokenizer, list[bytes]] = WeakKeyDictionary()
_tokenizers: WeakKeyDictionary[Tokenizer, LLTokenizer] = WeakKeyDictionary()


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of every token, special ones by name; empty for those that are not in use."""
    if tokenizer not in _bytes:
        unused = tokenizer.unused_ids
        _bytes[tokenizer] = [
            b"" if token in unused else tokenizer.decode_bytes([token]) for token in range(tokenizer.n_vocab)
        ]
    return _bytes[tokenizer]


def llguidance_tokenizer(tokenizer: Tokenizer) -> LLTokenizer:
    """llguidance's own form of a tokenizer, built once.

    Special tokens and those that end a generation are never text. The other whole tokens, such as GLM's
    `<think>`, are text with these letters.
    """
    if tokenizer not in _tokenizers:
        from llguidance import LLTokenizer, TokenizerWrapper

        ends = sorted(tokenizer.eog_ids)
        _tokenizers[tokenizer] = LLTokenizer(TokenizerWrapper(_TokenTable(tokenizer)), eos_token=ends or None)
    return _tokenizers[tokenizer]


class _TokenTable:
    """The attributes that llguidance reads. It refers to the tokenizer weakly: it would keep it otherwise."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id = min(tokenizer.eog_ids, default=None)
        self.bos_token_id = tokenizer.bos_id
        self.tokens = token_bytes(tokenizer)
        self.special_token_ids = sorted(tokenizer.special_ids | tokenizer.eog_ids)
        self._tokenizer = weakref.proxy(tokenizer)

    def __call__(self, text: bytes) -> list[int]:
        """Token ids of text that follows other text."""
        ids: list[int] = self._tokenizer.encode(text.decode(), special=False, after_text=True)
        return ids
