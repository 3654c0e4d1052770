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
_MASK_32, _MASK_64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_LEAST_BITS = 12


class _Chain:
    """Places by n-grams of one length.

    heads, earlier: int32, as above. slot: that of the text's last n-gram, whose value is `value`, a number
    that each token changes a little; drop: what a token has become in it when it leaves.
    """

    __slots__ = ("drop", "earlier", "heads", "length", "slot", "value")

    def __init__(self, length: int, bits: int) -> None:
        self.length, self.drop = length, pow(_FACTOR, length, 1 << 32)
        self.heads, self.earlier = array("i", b"\xff" * (4 << bits)), array("i")
        self.value = self.slot = 0


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

    def append(self, token: int) -> int:
        """Go on with the last text by a token; gives how many tokens, the first, are forgotten for it."""
        self._text.append(token)
        n = len(self._tokens)
        if n < self._limit:
            self._push(token)
        else:
            self._add(np.array([token], np.int32))
        return n + 1 - len(self._tokens)

    def longest_match(self) -> tuple[int, int]:
        """(the place behind the longest match with the end, its length); of several the newest.

        The length is 0 where there is none. Matches are at least as long as the shortest n-grams, and at most
        `LONGEST_MATCH`.
        """
        tokens, end = self._tokens, len(self._tokens)
        best, best_length, most = 0, 0, LONGEST_MATCH
        for chain in self._chains:
            place, earlier = chain.heads[chain.slot] if end >= chain.length else -1, chain.earlier
            for _ in range(MOST_LOOKS):
                if place < 0 or best_length == most:
                    break
                # A longer match has one more of the end's tokens: most places are passed over by that alone.
                if place > best_length and tokens[place - 1 - best_length] == tokens[end - 1 - best_length]:
                    found = self._match(place)
                    if found > best_length and found >= chain.length:
                        best, best_length = place, found
                place = earlier[place]
            if best_length:
                break
            most = chain.length - 1  # a longer one would have been found
        return best, best_length

    def _match(self, place: int) -> int:
        """How many tokens before a place are those at the end."""
        tokens, end = self._tokens, len(self._tokens)
        n, most = 0, min(place, LONGEST_MATCH)
        while n < most and tokens[place - 1 - n] == tokens[end - 1 - n] != BORDER:
            n += 1
        return n

    def _add(self, added: np.ndarray) -> None:
        """Append tokens, int32 (n,), many at once."""
        n = len(self._tokens) + len(added)
        if n > self._limit:
            held = np.concatenate((np.array(self._tokens, np.int32), added))
            self._reset(held[-(MOST_TOKENS // 2) :] if n > MOST_TOKENS else held)
        else:
            self._index(added)

    def _push(self, token: int) -> None:
        tokens, shift = self._tokens, self._shift
        place = len(tokens)
        for chain in self._chains:
            value = chain.value * _FACTOR + token
            if place >= chain.length:
                chain.earlier.append(chain.heads[chain.slot])
                chain.heads[chain.slot] = place
                value -= tokens[place - chain.length] * chain.drop
            else:
                chain.earlier.append(-1)
            chain.value = value = value & _MASK_32
            chain.slot = (value * _SPREAD & _MASK_64) >> shift
        tokens.append(token)

    def _reset(self, tokens: np.ndarray) -> None:
        """Hold these tokens, with tables large enough for as many again."""
        bits = max(_LEAST_BITS, (2 * len(tokens)).bit_length())
        self._limit, self._shift = min(1 << bits, MOST_TOKENS), 64 - bits
        self._tokens = array("i")
        self._chains = [_Chain(length, bits) for length in LENGTHS]
        self._index(tokens)

    def _index(self, added: np.ndarray) -> None:
        if not len(added):
            return
        first = len(self._tokens)
        self._tokens.frombytes(added.astype(np.int32).tobytes())
        tokens = np.frombuffer(self._tokens, np.int32)
        for chain in self._chains:
            length = chain.length
            n_short = min(max(0, length - first), len(added))
            chain.earlier.extend([-1] * n_short)
            places = np.arange(first + n_short, len(tokens))
            links = _entered(tokens, places, length, self._shift, np.frombuffer(chain.heads, np.int32))
            chain.earlier.frombytes(links.tobytes())
            chain.value = 0
            for token in self._tokens[-length:]:
                chain.value = chain.value * _FACTOR + token & _MASK_32
            chain.slot = (chain.value * _SPREAD & _MASK_64) >> self._shift


def _entered(
    tokens: np.ndarray, places: np.ndarray, length: int, shift: int, heads: np.ndarray
) -> np.ndarray:
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
