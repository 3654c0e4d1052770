"""Sampling, limits and forms from a request, by the names of OpenAI's API, llama.cpp's and vLLM's."""

from __future__ import annotations

import math
from typing import Any

from .api_error import BadRequest
from .fields import Fields
from .requests import Form
from .settings import MAX_STOP_LENGTH, MAX_STOPS

NUMBERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "top_n_sigma": "top_n_sigma",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repeat_penalty",
    "repeat_penalty": "repeat_penalty",
    "dry_multiplier": "dry_multiplier",
    "dry_base": "dry_base",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}
"""The setting of each field that is a number."""

INTEGERS = {
    "top_k": "top_k",
    "repeat_last_n": "penalty_last_n",
    "dry_allowed_length": "dry_allowed_length",
    "dry_penalty_last_n": "dry_last_n",
    "mirostat": "mirostat",
}
"""The setting of each field that is a whole number; -1 is that of no limit."""

UNLIMITED = {"top_k": 0, "penalty_last_n": 10**9, "dry_last_n": 10**9}


def sampling_of(fields: Fields) -> dict[str, Any]:
    """The settings that a request gives."""
    found: dict[str, Any] = {}
    for name, setting in NUMBERS.items():
        if (value := fields.number(name)) is not None:
            found[setting] = float(value)
    for name, setting in INTEGERS.items():
        if (value := fields.integer(name, least=-1, most=10**9)) is not None:
            found[setting] = UNLIMITED.get(setting, 0) if value == -1 else value
    if (seed := fields.integer("seed")) is not None and seed != -1:
        found["seed"] = seed % 2**63
    if fields.has("logit_bias"):
        found["logit_bias"] = _logit_bias(fields.values["logit_bias"])
    return found


def _logit_bias(value: object) -> dict[int, float]:
    """From {"id": bias}, or llama.cpp's [[id, bias], ...], where false forbids a token."""
    wrong = BadRequest("logit_bias must map token ids to numbers from -100 to 100", "logit_bias")
    pairs: list[Any] = list(value.items()) if isinstance(value, dict) else value  # type: ignore[assignment]
    if not isinstance(pairs, list):
        raise wrong
    biases = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise wrong
        token, bias = pair
        if isinstance(token, str) and token.isascii() and token.isdigit() and len(token) < 12:
            token = int(token)
        if not isinstance(token, int) or isinstance(token, bool) or token < 0:
            raise wrong
        if bias is False:
            bias = -math.inf
        elif isinstance(bias, bool) or not isinstance(bias, (int, float)) or not -100 <= bias <= 100:
            raise wrong
        biases[token] = float(bias)
    return biases


def stop_of(fields: Fields, name: str = "stop") -> tuple[str, ...]:
    """A stop text or a list of them."""
    value = fields.values.get(name)
    texts = [value] if isinstance(value, str) else fields.list(name, [])
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest(f"{name} must be a string or a list of strings", name)
    if len(texts) > MAX_STOPS or any(len(text) > MAX_STOP_LENGTH for text in texts):
        raise BadRequest(
            f"{name} holds more than {MAX_STOPS} texts, or one of more than {MAX_STOP_LENGTH} characters",
            name,
        )
    return tuple(text for text in texts if text)


def form_of(fields: Fields) -> Form | None:
    """What the answer is held to, by `response_format` or llama.cpp's `grammar` and `json_schema`."""
    if (grammar := fields.text("grammar")) is not None:
        return Form("grammar", grammar) if grammar else None
    if (schema := fields.object("json_schema")) is not None:
        return Form("json_schema", schema.values)
    given = fields.object("response_format")
    return None if given is None else form_of_format(given)


def form_of_format(given: Fields) -> Form | None:
    """What a format such as {"type": "json_schema", ...} holds an answer to."""
    kind = given.one_of("type", ("text", "json_object", "json_schema"), "text")
    if kind == "text":
        return None
    within = given.object("json_schema") or given
    schema = within.object("schema")
    if schema is not None:
        return Form("json_schema", schema.values)
    if kind == "json_schema":
        raise BadRequest(f"{within.path('schema')} is missing", within.path("schema"))
    return Form("json_schema", {"type": "object"})
