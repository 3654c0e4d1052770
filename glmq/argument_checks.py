"""Arguments of the public functions, checked before anything is read or evaluated.

A wrong type is a TypeError and a value that cannot be a GlmqError, each one line that names the argument.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

import numpy as np
from glmq_kernels.errors import GlmqError


def check_count(name: str, value: object, least: int | None = None) -> None:
    """A whole number, of at least `least` where that is given, or None."""
    if value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {_shown(value)}; it must be a whole number or None")
    if least is not None and value < least:
        raise GlmqError(f"{name} is {value}; it must be at least {least}")


def check_text(name: str, value: object) -> None:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {_shown(value)}; it must be a text")


def check_path(name: str, value: object) -> None:
    """The path of a file."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} is {_shown(value)}; it must be the path of a file")


def check_call(name: str, value: object) -> None:
    """A function, or None."""
    if not (value is None or callable(value)):
        raise TypeError(f"{name} is {_shown(value)}; it must be a function or None")


def check_memory(name: str, value: object) -> None:
    """An amount of memory: a positive number of bytes, a text, or None."""
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {_shown(value)}; it must be a number of bytes or a text such as '12G'")
    if not 0 < float(value) < math.inf:
        raise GlmqError(f"{name} is {value}; it must be more than 0 bytes")


def check_prompt(prompt: object) -> None:
    """A text, or token ids in a sequence or an array."""
    if isinstance(prompt, str):
        return
    plain: Any = prompt.tolist() if isinstance(prompt, np.ndarray) else prompt
    is_sequence = isinstance(plain, Sequence) and not isinstance(plain, (bytes, bytearray))
    if not (is_sequence and all(issubclass(kind, Integral) for kind in set(map(type, plain)))):
        raise TypeError(f"prompt is {_shown(prompt)}; it must be a text or a list of token ids")


def check_switch(name: str, value: object, *, or_none: bool = False) -> None:
    """True or False, or where that is allowed None."""
    if not (isinstance(value, bool) or (or_none and value is None)):
        raise TypeError(
            f"{name} is {_shown(value)}; it must be True{', False or None' if or_none else ' or False'}"
        )


def check_instance(name: str, value: object, kind: type, call: str) -> None:
    """An object of a class, or None. call: how one is made."""
    if not (value is None or isinstance(value, kind)):
        raise TypeError(f"{name} is {_shown(value)}; it must be what {call} gives, or None")


def check_mapping(name: str, value: object, keys: str = "names") -> None:
    """A mapping. keys: what its keys are to be called."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is {_shown(value)}; it must be a mapping of {keys} to values")


def check_names(
    function: str, given: Iterable[str], known: Sequence[str], others: Sequence[str] = ()
) -> None:
    """Names of arguments that a function passes on to something that knows them.

    others: what it takes beside those; it is named too where it is what was meant.
    """
    for name in given:
        if name not in known:
            nearest = get_close_matches(name, [*known, *others], n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'{hint}")


def stop_texts(stop: object) -> list[str]:
    """Stop texts as a list: `stop` is one text, several, or None. Empty ones are left out."""
    if stop is None:
        return []
    if isinstance(stop, str):
        return [stop] if stop else []
    if not isinstance(stop, (list, tuple, set, frozenset)) or not all(isinstance(each, str) for each in stop):
        raise TypeError(f"stop is {_shown(stop)}; it must be a text or a list of texts")
    return [each for each in stop if each]


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:59] + '…'} ({type(value).__name__})"
