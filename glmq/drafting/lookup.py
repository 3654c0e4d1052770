"""Look-up: an answer that repeats its prompt or an earlier answer goes on as that did.

Prompt look-up decoding (Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding) with the longest match,
as in suffix decoding (Oliaro et al. 2024, arXiv 2411.04975).
"""

from __future__ import annotations

from collections.abc import Sequence

from .drafter import Guess, WantsMore, wants_all
from .text_index import BORDER, LONGEST_MATCH, TextIndex

CHANGED = 0
"""The kind of guesses behind a token that was other than in the text followed so far."""

LEAST_FOLLOWED = 8
"""Tokens that were alike before such a token, so that the text is followed on behind it."""

MOST_CHANGED = 3
"""Such tokens in a row behind which it is followed on."""


class LookUp:
    """Follows the longest match of an answer's end with an earlier place, as long as that is right.

    Its guesses' kinds are those of `kind_of_length`, or CHANGED.
    """

    name = "lookup"
    costs = tells_probability = False

    def __init__(self, index: TextIndex) -> None:
        self._index = index
        self._place = 0  # of the token that is guessed next
        self._length = 0  # tokens before it that are those at the end; 0 where nothing is followed
        self._n_changed = 0  # tokens before it that were other than in the text followed

    def begin(self, prompt: Sequence[int]) -> None:
        """Take the prompt in."""
        self._index.follow(prompt)
        self._search()

    def next_guess(self) -> tuple[int, int] | None:
        """What follows the match first."""
        place, tokens = self._place, self._index.tokens
        if not self._length or place >= len(tokens) or tokens[place] == BORDER:
            return None
        return tokens[place], CHANGED if self._n_changed else _KINDS[self._length]

    def accept(self, token: int) -> None:
        """Go on behind a token, in the text that is followed or in another one."""
        followed, place, index = self._length, self._place, self._index
        is_right = followed > 0 and place < len(index.tokens) and index.tokens[place] == token
        n_changed, self._n_changed = self._n_changed, 0
        place += 1 - index.append(token)
        if is_right and place > 0:
            self._place, self._length = place, 1 if n_changed else min(followed + 1, LONGEST_MATCH)
            return
        self._search()
        goes_on = followed >= LEAST_FOLLOWED and n_changed < MOST_CHANGED
        if not self._length and goes_on and 0 < place < len(index.tokens):
            self._place, self._length, self._n_changed = place, followed, n_changed + 1

    def kinds(self, n_most: int) -> Sequence[int]:
        """By the length of the match, which a guess that is right makes longer."""
        length = self._length
        if not length:
            return ()
        if self._n_changed:
            return (CHANGED, *_KINDS[1:n_most])
        return (_KINDS[length : length + n_most] + _AT_MOST[:n_most])[:n_most]

    def assumed(self, kind: int) -> float:
        """The longer the match, the likelier."""
        return min(0.3 + 0.08 * kind, 0.9)

    def propose(self, n_most: int, wants_more: WantsMore = wants_all) -> Sequence[Guess]:
        """What follows the match. Where it ends with the text, the text repeats itself."""
        tokens, kinds = self._index.tokens, self.kinds(n_most)
        guesses: list[Guess] = []
        for i, kind in enumerate(kinds):
            place = self._place + i
            token = tokens[place] if place < len(tokens) else guesses[place - len(tokens)].token
            if token == BORDER:
                break
            guesses.append(Guess(token, kind))
        return guesses

    def end(self) -> None:
        """The index stays as it is, for the session's next answer."""

    def _search(self) -> None:
        self._place, self._length = self._index.longest_match()


def kind_of_length(length: int) -> int:
    """Of guesses behind a match of so many tokens: each up to 4 by itself, then by half octaves."""
    if length <= 4:
        return length
    octave = length.bit_length() - 1
    return 2 * octave + 1 + (length >> (octave - 1) & 1)


_KINDS = tuple(kind_of_length(max(1, length)) for length in range(LONGEST_MATCH + 1))
"""By the length of the match, which is 1 or more."""

_AT_MOST = (_KINDS[LONGEST_MATCH],) * LONGEST_MATCH
"""Of guesses behind a match that is as long as is looked for."""
