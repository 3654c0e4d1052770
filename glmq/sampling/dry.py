"""DRY: penalties for tokens that would continue a repetition.

By p-e-w, text-generation-webui pull request 5677; breakers and details as in llama.cpp's llama-sampler.cpp.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from .candidates import Candidates
from .settings import Sampling

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

MAX_BREAKER_BYTES = 40
MAX_TAIL_TOKENS = 20
LARGEST_LOG = 88.7228391
"""Logarithm of the largest float32."""

LARGEST_PENALTY = 1e30
"""Logits stay finite in later steps."""

Breakers = dict[int, list[tuple[int, ...]]]
"""For each token that begins a breaker, the tokens that must follow it, in one or several ways."""


class Dry:
    """The last `dry_last_n` tokens, and the penalties that they lead to."""

    def __init__(self, sampling: Sampling, breakers: Breakers) -> None:
        self._multiplier = float(np.float32(sampling.dry_multiplier))
        self._base = float(np.float32(sampling.dry_base))
        self._allowed = sampling.dry_allowed_length
        self._breakers = breakers
        self._recent: deque[int] = deque(maxlen=sampling.dry_last_n)
        self._max_exponent = int(LARGEST_LOG / math.log(self._base)) if self._base > 1.000001 else None

    def accept(self, token: int) -> None:
        """Remember a token."""
        self._recent.append(token)

    def apply(self, candidates: Candidates) -> Candidates:
        """The candidates with the penalties taken off. Tokens that are breakers by themselves get none."""
        lengths = self._repetitions()
        penalized = [token for token in lengths if () not in self._breakers.get(token, ())]
        if not penalized:
            return candidates
        where, which = candidates.positions(np.array(penalized))
        exponents = np.array([lengths[token] for token in penalized], np.float64)[which] - self._allowed
        penalties = self._multiplier * self._base**exponents
        logits = candidates.logits.copy()
        logits[where] -= penalties.clip(max=LARGEST_PENALTY).astype(np.float32)
        return Candidates(candidates.ids, logits)

    def _repetitions(self) -> dict[int, int]:
        """The greatest length of a repetition that each token would continue, from the allowed length up."""
        n = len(self._recent)
        if n <= self._allowed:
            return {}
        recent = np.array(self._recent)
        limit = self._reach()
        if limit < self._allowed:
            return {}
        if self._max_exponent is not None:
            limit = min(limit, self._allowed + self._max_exponent)
        lengths = _common_ends(recent, limit)
        found: dict[int, int] = {}
        for i in np.flatnonzero(lengths >= self._allowed).tolist():
            token = int(recent[i + 1])
            found[token] = max(found.get(token, 0), int(lengths[i]))
        return found

    def _reach(self) -> int:
        """How many of the last tokens come after the last breaker."""
        recent = self._recent
        for i in range(len(recent)):
            tails = self._breakers.get(recent[-1 - i])
            if not tails:
                continue
            after = tuple(recent[k] for k in range(-i, -i + min(i, MAX_TAIL_TOKENS)))
            matched = [len(tail) for tail in tails if after[: len(tail)] == tail]
            if matched:
                return i - max(matched)
        return len(recent)


def _common_ends(recent: np.ndarray, limit: int) -> np.ndarray:
    """For each of the first n - 1 positions, how many tokens up to it end the whole too, at most `limit`."""
    n = len(recent)
    lengths = np.zeros(n - 1, np.int64)
    ends = np.arange(n - 1)
    for length in range(limit):
        ends = ends[ends >= length]
        ends = ends[recent[ends - length] == recent[n - 1 - length]]
        if not len(ends):
            break
        lengths[ends] = length + 1
    return lengths


_known: WeakKeyDictionary[Tokenizer, dict[tuple[str, ...], Breakers]] = WeakKeyDictionary()


def breakers_of(texts: Sequence[str], tokenizer: Tokenizer) -> Breakers:
    """The tokens that hold a breaker or end with its beginning, each with the tokens of its rest.

    Remembered for each tokenizer, since it looks at the whole vocabulary.
    """
    known = _known.setdefault(tokenizer, {})
    key = tuple(text for text in texts if text)
    if key not in known:
        known[key] = _find_breakers(key, tokenizer)
    return known[key]


def _words(tokenizer: Tokenizer) -> list[bytes]:
    """Every token decoded alone, where some tokenizers leave the first space out."""
    words = tokenizer.every_token()
    spaced = next((token for token, word in enumerate(words) if word.startswith(b" ")), None)
    if spaced is not None and tokenizer.decode([spaced]).encode() != words[spaced]:
        words = [word.removeprefix(b" ") for word in words]
    return words


def _find_breakers(texts: Sequence[str], tokenizer: Tokenizer) -> Breakers:
    words = _words(tokenizer) if texts else []
    found: defaultdict[int, set[tuple[int, ...]]] = defaultdict(set)
    for text in texts:
        breaker = text.encode()[:MAX_BREAKER_BYTES]
        tails = {
            breaker[:n]: tuple(tokenizer.encode(breaker[n:].decode(errors="replace"), special=False))
            for n in range(1, len(breaker))
        }
        for token in [token for token, word in enumerate(words) if breaker in word]:
            found[token].add(())
        for beginning, tail in tails.items():
            for token in [token for token, word in enumerate(words) if word.endswith(beginning)]:
                if breaker not in words[token]:
                    found[token].add(tail[:MAX_TAIL_TOKENS])
    return {token: sorted(tails) for token, tails in found.items()}
