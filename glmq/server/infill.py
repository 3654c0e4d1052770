"""Filling in the middle: what stands before and behind it, as tokens of a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .api_error import ApiError

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

MARKS = ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>")


@dataclass(frozen=True)
class InfillText:
    """A middle that is to be filled in. begun: what it begins with."""

    before: str
    after: str
    begun: str = ""

    def tokens(self, tokenizer: Tokenizer) -> list[int]:
        """The prompt. Raises ApiError where the vocabulary has no marks for it."""
        prefix, suffix, middle = map(tokenizer.token_id, MARKS)
        if prefix is None or suffix is None or middle is None:
            raise ApiError(501, "the model has no tokens for filling in the middle", code="not_supported")
        before, after, begun = (
            tokenizer.encode(text, special=False) if text else []
            for text in (self.before, self.after, self.begun)
        )
        return [prefix, *before, suffix, *after, middle, *begun]
