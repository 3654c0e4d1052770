"""What all kinds of tokenizer.json have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glmq_kernels.errors import GlmqError

from .json_fields import checked_text, items, shown, table, tables, whole


def steps(section: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The steps of a sequence (its `name`, such as "normalizers"), or the only one."""
    return tables(section, name) if name in section else [section]


def vocabulary_by_number(model: Mapping[str, Any]) -> dict[int, str]:
    """The texts of a model's `vocab` by their numbers. Raises GlmqError when it is empty or ambiguous."""
    vocab = table(model, "vocab")
    if not vocab:
        raise GlmqError("model.vocab is missing or empty; download the file again")
    texts: dict[int, str] = {}
    for found in vocab:
        token_id = whole(vocab, found, -1, least=0)
        if token_id in texts:
            raise GlmqError(
                f"two tokens have the number {token_id}, {shown(texts[token_id])} and {shown(found)}"
            )
        texts[token_id] = checked_text(found, f"token {token_id}")
    return texts


def merged_pairs(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The `merges` of a model, which are written as pairs or as texts with a space in the middle."""
    if not items(model, "merges"):
        raise GlmqError("model.merges is missing or empty; download the file again")
    pairs = []
    for merge in items(model, "merges"):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2:
            raise GlmqError(f"model.merges has the entry {shown(merge)}; it must be two tokens")
        first, second = (checked_text(part, "a part of model.merges") for part in pair)
        pairs.append((first, second))
    return pairs


def check_within(texts: Mapping[int, str], vocab_size: int) -> None:
    """Raise GlmqError when a token's number is not below `vocab_size`."""
    if texts and max(texts) >= vocab_size:
        raise GlmqError(
            f"the tokenizer has a token {max(texts)} ({shown(texts[max(texts)])}), past the vocab_size"
            f" {vocab_size} of config.json; the two are not of one model"
        )
