"""Arguments of the public functions, checked before anything is read or evaluated.

A wrong type is a TypeError and a value that cannot be a UserError, each one line that names the argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

from glmq_kernels.errors import UserError


def check_count(name: str, value: object, least: int) -> None:
    """A whole number of at least `least`, or None."""
    if value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {_shown(value)}; it must be a whole number or None")
    if value < least:
        raise UserError(f"{name} is {value}; it must be at least {least}")


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


def check_mapping(name: str, value: object) -> None:
    """A mapping with names as keys, or None."""
    if value is None:
        return
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} is {_shown(value)}; it must be a mapping of names to values, or None")


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
