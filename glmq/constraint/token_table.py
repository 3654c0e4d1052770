"""A tokenizer as llguidance wants it: the bytes of every token, and which tokens are no text."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from ..tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_bytes: WeakKeyDictionary[Tokenizer, list[bytes]] = WeakKeyDictionary()
_tokenizers: WeakKeyDictionary[Tokenizer, LLTokenizer] = WeakKeyDictionary()
_tables: WeakKeyDictionary[Tokenizer, TokenTable] = WeakKeyDictionary()


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of every token, special ones by name; empty for those that are not in use."""
    if tokenizer not in _bytes:
        unused = tokenizer.unused_ids
        _bytes[tokenizer] = [
            b"" if token in unused else word for token, word in enumerate(tokenizer.every_token())
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
        _tokenizers[tokenizer] = LLTokenizer(TokenizerWrapper(_TokenList(tokenizer)), eos_token=ends or None)
    return _tokenizers[tokenizer]


@dataclass(frozen=True)
class TokenTable:
    """What tokens begin with and how long they are.

    n_bytes: int32 (n_vocab,). by_first_byte: uint32 (256, words), the masks of tokens that are text and begin
    with a byte, one bit for each token as in llguidance's masks. single: the token of each byte alone, or -1.
    """

    n_bytes: np.ndarray
    by_first_byte: np.ndarray
    single: np.ndarray


def token_table(tokenizer: Tokenizer) -> TokenTable:
    """The table of a tokenizer, built once."""
    if tokenizer not in _tables:
        texts = token_bytes(tokenizer)
        special = tokenizer.special_ids | tokenizer.eog_ids
        n_words = (len(texts) + 31) // 32
        by_first_byte = np.zeros((256, n_words * 32), np.bool_)
        single = np.full(256, -1, np.int64)
        for token, text in enumerate(texts):
            if text and token not in special:
                by_first_byte[text[0], token] = True
                if len(text) == 1:
                    single[text[0]] = token
        packed = np.packbits(by_first_byte, axis=1, bitorder="little").view(np.uint32)
        n_bytes = np.array([len(text) for text in texts], np.int32)
        _tables[tokenizer] = TokenTable(n_bytes, packed, single)
    return _tables[tokenizer]


class _TokenList:
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
