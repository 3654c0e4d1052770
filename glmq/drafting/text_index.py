"""An index of a session's texts by their n-grams, which finds where the end of the text came before.

    tokens     .. a b c d ..  a b c e ..  a b c        the end: a b c
    heads      slot of (b, c) -> the last place behind b c that something follows
    earlier    place -> the place before with the same slot, so that a chain leads to all of them

Places are looked at from the newest back, a few of them; collisions of slots are found by comparing tokens.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

LENGTHS = (5, 2)
"""Of the n-grams by which places are found, the longest first."""

MOST_TOKENS = 1 << 18
"""Tokens that an index holds; of more the older half is forgotten."""

LONGEST_MATCH = 64
"""How far back matches are compared."""

MOST_LOOKS = 24
"""Places that are looked at for each length of n-grams."""

CONTEXT = 16
"""Tokens before a place where two texts part that are taken over into the index with the second."""

BORDER = -1
"""Stands between two texts."""

_FACTOR, _SPREAD = 0x9E3779B1, 0x9E3779B97F4A7C15
_LEAST_BITS = 12


class TextIndex:
    """Tokens of texts, one after another; the last one grows. Memory is bounded (4 to 7 MB at most)."""

    def __init__(self) -> None:
        self._text = array("i")  # the last text, whole
        self._reset(np.zeros(0, np.int32))

    @property
    def tokens(self) -> Sequence[int]:
        """All tokens, those of the last text at the end; `BORDER` between texts."""
        return self._tokens

    def follow(self, text: Sequence[int]) -> None:
        """Go on with a text: the last one with more behind it, or another one.

        Of another one what both begin with is there already; what the last one had behind that stays too.
        """
        new, old = np.array(text, np.int32), np.frombuffer(self._text, np.int32)
        n = min(len(new), len(old))
        differing = np.flatnonzero(new[:n] != old[:n])
        n_shared = int(differing[0]) if len(differing) else n
        if n_shared == len(old):
            added = new[n_shared:]
        else:
            added = np.concatenate(([BORDER], new[max(0, n_shared - CONTEXT) :])).astype(np.int32)
        del old  # an array cannot grow while it is viewed
        self._text = array("i", new.tobytes())
        self._add(added)

    def append(self, token: int) -> None:
        """Go on with the last text by a token."""
        self._text.append(token)
        if len(self._tokens) < self._limit:
            self._push(token)
        else:
            self._add(np.array([token], np.int32))

    def longest_match(self) -> tuple[int, int]:
        """(the place behind the longest match with the end, its length); of several the newest.

        The length is 0 where there is none. Matches are at least as long as the shortest n-grams, and at most
        `LONGEST_MATCH`.
        """
        best, best_length = 0, 0
        for heads, earlier, length in self._chains:
            if len(self._tokens) < length:
                continue
            place = heads[self._slot(length)]
            for _ in range(MOST_LOOKS):
                if place < 0 or best_length == LONGEST_MATCH:
                    break
                found = self._match(place, best_length)
                if found > best_length and found >= length:
                    best, best_length = place, found
                place = earlier[place]
            if best_length:
                break
        return best, best_length

    def _match(self, place: int, least: int) -> int:
        """How many tokens before a place are those at the end; 0 where it is no more than `least`."""
        tokens, end = self._tokens, len(self._tokens)
        if least and (place <= least or tokens[place - 1 - least] != tokens[end - 1 - least]):
            return 0
        n, most = 0, min(place, LONGEST_MATCH)
        while n < most and tokens[place - 1 - n] == tokens[end - 1 - n] != BORDER:
            n += 1
        return n

    def _slot(self, length: int) -> int:
        """Of the last tokens."""
        value = 0
        for token in self._tokens[-length:]:
            value = (value * _FACTOR + token) & 0xFFFFFFFF
        return ((value * _SPREAD) & 0xFFFFFFFFFFFFFFFF) >> self._shift

    def _add(self, added: np.ndarray) -> None:
        """Append tokens, int32 (n,), many at once."""
        n = len(self._tokens) + len(added)
        if n > self._limit:
            held = np.concatenate((np.array(self._tokens, np.int32), added))
            self._reset(held[-(MOST_TOKENS // 2) :] if n > MOST_TOKENS else held)
        else:
            self._index(added)

    def _push(self, token: int) -> None:
        place = len(self._tokens)
        for heads, earlier, length in self._chains:
            if place >= length:
                slot = self._slot(length)
                earlier.append(heads[slot])
                heads[slot] = place
            else:
                earlier.append(-1)
        self._tokens.append(token)

    def _reset(self, tokens: np.ndarray) -> None:
        """Hold these tokens, with tables large enough for as many again."""
        bits = max(_LEAST_BITS, (2 * len(tokens)).bit_length())
        self._limit, self._shift = min(1 << bits, MOST_TOKENS), 64 - bits
        self._tokens = array("i")
        self._chains = [(array("i", b"\xff" * (4 << bits)), array("i"), length) for length in LENGTHS]
        self._index(tokens)

    def _index(self, added: np.ndarray) -> None:
        first = len(self._tokens)
        self._tokens.frombytes(added.astype(np.int32).tobytes())
        tokens = np.frombuffer(self._tokens, np.int32)
        for heads, earlier, length in self._chains:
            n_short = min(max(0, length - first), len(added))
            earlier.extend([-1] * n_short)
            places = np.arange(first + n_short, len(tokens))
            links = _chain(tokens, places, length, self._shift, np.frombuffer(heads, np.int32))
            earlier.frombytes(links.tobytes())


def _chain(tokens: np.ndarray, places: np.ndarray, length: int, shift: int, heads: np.ndarray) -> np.ndarray:
    """Enter places into a table; gives for each the one before of the same slot, int32."""
    values = np.zeros(len(places), np.uint32)
    for i in range(length):
        values = values * np.uint32(_FACTOR) + tokens[places - length + i].view(np.uint32)
    slots = (values.astype(np.uint64) * np.uint64(_SPREAD)) >> np.uint64(shift)
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    begins = np.ones(len(order), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    links = np.empty(len(places), np.int32)
    links[order[1:]] = places[order[:-1]]
    links[order[begins]] = heads[ordered[begins]]
    ends = np.roll(begins, -1)
    heads[ordered[ends]] = places[order[ends]]
    return links
