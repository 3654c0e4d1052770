"""Token ids of a prompt that continues what a session holds.

An answer's tokens need not be those that its text would be encoded to, and encoding the whole conversation
anew would then throw away the KV cache. So as many of the session's tokens stay as spell the same text, and
only from the first that does not is the prompt encoded.

The place where the two meet is one where the encoding of the new text has a border between tokens too. All
tokens after it are then those that a model sees in such text: "foo" that goes on as "football" is not left
as "foo" and "tball".
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from ..tokenizer import Tokenizer
from .quoted_tokens import said_tags, unquoted


def prompt_tokens(text: str, tokenizer: Tokenizer, cached: Sequence[int]) -> list[int]:
    """Token ids of a rendered chat template, beginning with as many of `cached` as spell the same.

    Names of tokens stand for these, but for marked ones (`quoted_tokens.py`), which are text, or where the
    model has said them what it wrote. A bos token that the file asks for is put before the text unless the
    template has written it already.
    """
    if tokenizer.add_bos and tokenizer.bos_id is not None:
        bos = tokenizer.token_text(tokenizer.bos_id)
        text = text if text.startswith(bos) else bos + text
    parts = tokenizer.parts(text)
    n_kept = 0
    for i, part in enumerate(parts):
        n_kept, fresh = _keep(part, tokenizer, cached, n_kept)
        if fresh:
            return [*cached[:n_kept], *fresh, *_encode(parts[i + 1 :], tokenizer)]
    return list(cached[:n_kept])


def _encode(parts: Sequence[str | int], tokenizer: Tokenizer) -> list[int]:
    tokens: list[int] = []
    for part in parts:
        tokens += [part] if isinstance(part, int) else tokenizer.encode_between(unquoted(part))
    return tokens


def _keep(part: str | int, tokenizer: Tokenizer, cached: Sequence[int], start: int) -> tuple[int, list[int]]:
    """Where the cached tokens end that may stay, from `start` on, and the tokens for the rest of the part."""
    if isinstance(part, int):
        same = start < len(cached) and cached[start] == part
        return (start + 1, []) if same else (start, [part])
    tags = said_tags(part)
    end = _end_of_spelling(unquoted(part).encode(), tags, tokenizer, cached, start)
    if end is not None:
        return end, []
    fresh = _encode([part], tokenizer)
    end, n_fresh = _last_common_border(fresh, tags, tokenizer, cached, start)
    return end, fresh[n_fresh:]


def _end_of_spelling(
    data: bytes, tags: Set[int], tokenizer: Tokenizer, cached: Sequence[int], start: int
) -> int | None:
    """Where the cached tokens end that spell `data` and nothing else, or None when they do not.

    tags: places in `data` where a tag may be the token of that name.
    """
    position = 0
    for i in range(start, len(cached)):
        if position == len(data):
            return i
        spelling = tokenizer.decode_bytes([cached[i]])
        is_name = cached[i] in tokenizer.whole_ids and position not in tags
        if is_name or not data.startswith(spelling, position):
            return None
        position += len(spelling)
    return len(cached) if position == len(data) else None


def _last_common_border(
    fresh: Sequence[int], tags: Set[int], tokenizer: Tokenizer, cached: Sequence[int], start: int
) -> tuple[int, int]:
    """The last place up to which cached and fresh tokens spell the same: the numbers of each before it."""
    spellings = [tokenizer.decode_bytes([token]) for token in fresh]
    data = b"".join(spellings)
    found = start, 0
    i, n_fresh = start, 0
    position = border = 0
    while True:
        if position == border:
            found = i, n_fresh
        if position > border:
            border += len(spellings[n_fresh])
            n_fresh += 1
            continue
        if i == len(cached):
            return found
        spelling = tokenizer.decode_bytes([cached[i]])
        is_name = cached[i] in tokenizer.whole_ids and position not in tags
        if is_name or not data.startswith(spelling, position):
            return found
        position += len(spelling)
        i += 1
