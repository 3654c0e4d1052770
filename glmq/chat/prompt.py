"""Token ids of a prompt that continues what a session holds.

An answer's tokens need not be those that its text would be encoded to, and encoding the whole
conversation anew would then throw away the KV cache. So the part of the text that the session's tokens
spell is taken as these tokens, up to a place where nothing can be encoded across: before or after a
special token.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..tokenizer import Tokenizer


def prompt_tokens(text: str, tokenizer: Tokenizer, cached: Sequence[int]) -> list[int]:
    """Token ids of a rendered chat template, beginning with as many of `cached` as spell the same.

    A bos token that the file asks for is put before it unless the template has written it already.
    """
    if tokenizer.add_bos and tokenizer.bos_id is not None:
        bos = tokenizer.token_text(tokenizer.bos_id)
        text = text if text.startswith(bos) else bos + text
    data = text.encode("utf-8", "replace")
    n_kept, position = _spelled(data, tokenizer, cached)
    return [*cached[:n_kept], *tokenizer.encode(data[position:].decode())]


def _spelled(data: bytes, tokenizer: Tokenizer, cached: Sequence[int]) -> tuple[int, int]:
    """How many of the cached tokens may stay, and the position in `data` after them."""
    position = 0
    kept = (0, 0)
    for i, token in enumerate(cached):
        spelling = tokenizer.decode_bytes([token])
        if not data.startswith(spelling, position):
            break
        if token in tokenizer.special_ids:
            kept = i + 1, position + len(spelling)
        elif tokenizer.starts_with_special(data, position):
            break
        position += len(spelling)
        if tokenizer.starts_with_special(data, position) or position == len(data):
            kept = i + 1, position
    return kept
