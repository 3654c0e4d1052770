"""Settings that a user types, in options and in a chat."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from glmq_kernels.errors import GlmqError

from .settings import STEPS, Sampling

NAMES = {
    "temp": "temperature",
    "typical": "typical_p",
    "repeat_last_n": "penalty_last_n",
    "dry_penalty_last_n": "dry_last_n",
    "dry_sequence_breaker": "dry_breakers",
    "mirostat_lr": "mirostat_eta",
    "mirostat_ent": "mirostat_tau",
    "samplers": "order",
}
"""Fields of `Sampling` by llama.cpp's names of its options, where they differ."""

_STEP_NAMES = {
    "typ": "typ_p",
    "typical": "typ_p",
    "typical_p": "typ_p",
    "nucleus": "top_p",
    "temp": "temperature",
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


def set_sampling(sampling: Sampling, name: str, text: str, defaults: Sampling | None = None) -> Sampling:
    """The sampling with one setting changed, as `/set NAME VALUE` does.

    name: a field of `Sampling` or llama.cpp's name of it, with - or _. The value "default" takes it from
    `defaults` (None: llama.cpp's); the name "default", without a value, takes everything from there.
    Raises GlmqError, in one line, for names that do not exist and values that make no sense.
    """
    defaults = defaults or Sampling()
    name, text = name.strip().lower().lstrip("-").replace("-", "_"), text.strip()
    if name == "default" and not text:
        return defaults
    name = NAMES.get(name, name)
    if name not in _READERS:
        raise GlmqError(f"there is no setting {name!r}; there are {', '.join(_READERS)}")
    if not text:
        raise GlmqError(f"{name} needs a value; `default` resets it to {getattr(defaults, name)!r}")
    value = getattr(defaults, name) if text == "default" else _READERS[name](name, text)
    return replace(sampling, **{name: value})


def steps_of(text: str) -> tuple[str, ...]:
    """The steps that a text such as "top_k;temperature" names. Raises GlmqError for unknown ones."""
    return tuple(_step(name.strip()) for name in re.split("[;,]", text) if name.strip())


def biases_of(texts: Sequence[str]) -> dict[int, float]:
    """Biases by token id from texts such as "15043+1" and "7-inf"; those of one token add up.

    Raises GlmqError for texts of another form.
    """
    biases: dict[int, float] = {}
    for text in texts:
        found = re.fullmatch(r"\s*(\d+)\s*([+-])\s*(inf|\d+\.?\d*|\.\d+)\s*", text)
        if not found:
            raise GlmqError(f"the logit bias {text!r} is not understood; write it like 15043+1 or 15043-inf")
        token = int(found[1])
        biases[token] = biases.get(token, 0.0) + float(found[2] + found[3])
    return biases


def breakers_of(texts: Sequence[str]) -> tuple[str, ...]:
    r"""DRY's breakers; escapes such as \n stand for characters, "none" removes those before it."""
    breakers: list[str] = []
    for text in texts:
        breakers = [] if text == "none" else [*breakers, _unescaped(text)]
    return tuple(breakers)


def _step(name: str) -> str:
    """The step of a name: "top-k" and "topk" are the same as "top_k"."""
    plain = name.lower().replace("-", "_")
    plain = _STEP_NAMES.get(plain, plain)
    for step in STEPS:
        if plain.replace("_", "") == step.replace("_", ""):
            return step
    raise GlmqError(f"there is no step {name!r}; the steps are {', '.join(STEPS)}")


def _unescaped(text: str) -> str:
    def meaning(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else _ESCAPES.get(found[2], found[0])

    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.))", meaning, text)


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise GlmqError(f"{name} is {text!r}; it must be a whole number") from None


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise GlmqError(f"{name} is {text!r}; it must be a number")
    return value


Reader = Callable[[str, str], Any]
_BY_TYPE: dict[str, Reader] = {"int": _whole, "int | None": _whole, "float": _number}
_BY_NAME: dict[str, Reader] = {
    "order": lambda name, text: steps_of(text),
    "logit_bias": lambda name, text: biases_of([] if text == "none" else text.split()),
    "dry_breakers": lambda name, text: breakers_of(text.split()),
}
_READERS: dict[str, Reader] = {
    each.name: _BY_NAME.get(each.name) or _BY_TYPE[str(each.type)] for each in fields(Sampling)
}
