"""Results that are kept, so that what was compiled once for a vocabulary is not compiled again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from glmq_kernels.errors import GlmqError

from ..tokenizer import Tokenizer

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
OfTokenizer = Callable[Concatenate[Tokenizer, Parameters], Result]

N_KEPT = 32
"""Results of one function for one vocabulary; the one that was asked for longest ago goes."""


def kept_by_tokenizer(work: OfTokenizer[Parameters, Result]) -> OfTokenizer[Parameters, Result]:
    """A function like `work` that keeps its results while the tokenizer lives. Its arguments are hashable."""
    kept: WeakKeyDictionary[Tokenizer, Callable[..., Result]] = WeakKeyDictionary()

    def keeper(tokenizer: Tokenizer) -> Callable[..., Result]:
        weak = weakref.ref(tokenizer)

        @lru_cache(N_KEPT)
        def work_of(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            alive = weak()
            if alive is None:
                raise GlmqError("the tokenizer is no longer there")
            return work(alive, *args, **kwargs)

        return work_of

    @wraps(work)
    def kept_work(tokenizer: Tokenizer, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if tokenizer not in kept:
            kept[tokenizer] = keeper(tokenizer)
        return kept[tokenizer](*args, **kwargs)

    return kept_work
