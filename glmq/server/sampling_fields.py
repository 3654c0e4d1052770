"""Sampling, limits and forms of a request, by the names of OpenAI's API, llama.cpp's and vLLM's."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from .api_error import BadRequest
from .declared import MAX_COUNT, Declared, Limit, Seed
from .requests import Form
from .settings import MAX_STOP_LENGTH, MAX_STOPS

StopText = Annotated[str, Field(max_length=MAX_STOP_LENGTH)]
StopTexts = Annotated[list[StopText], Field(max_length=MAX_STOPS)]
Stop = StopText | StopTexts | None

OTHER_NAMES = {
    "repetition_penalty": "repeat_penalty",
    "repeat_last_n": "penalty_last_n",
    "dry_penalty_last_n": "dry_last_n",
}
"""Fields that have another name among the settings of `Sampling`."""

UNLIMITED = {"top_k": 0, "penalty_last_n": MAX_COUNT, "dry_last_n": MAX_COUNT}
"""What -1 stands for."""


class SamplingFields(Declared):
    """How tokens are drawn. What is not given is as suits the model."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: Limit | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: Limit | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: Limit | None = None
    dry_penalty_last_n: Limit | None = None
    mirostat: Annotated[Limit, Field(le=2)] | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    seed: Seed | None = None
    logit_bias: dict[str, Any] | list[Any] | None = None
    ignore_eos: bool | None = None

    def sampling(self) -> dict[str, Any]:
        """The settings that are given, by their names in `Sampling`. Raises BadRequest."""
        found: dict[str, Any] = {}
        for name in SamplingFields.model_fields:
            value = getattr(self, name)
            if value is None or name in ("seed", "logit_bias", "ignore_eos"):
                continue
            setting = OTHER_NAMES.get(name, name)
            found[setting] = UNLIMITED.get(setting, 0) if value == -1 and type(value) is int else value
        if self.seed is not None and self.seed != -1:
            found["seed"] = self.seed % 2**63
        if self.logit_bias is not None:
            found["logit_bias"] = logit_bias_of(self.logit_bias)
        return found


def logit_bias_of(value: dict[str, Any] | list[Any]) -> dict[int, float]:
    """From {"id": bias}, or llama.cpp's [[id, bias], ...], where false forbids a token. Raises BadRequest."""
    wrong = BadRequest("logit_bias must map token ids to numbers from -100 to 100", "logit_bias")
    pairs: list[Any] = list(value.items()) if isinstance(value, dict) else value
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


def stop_texts(stop: str | list[str] | None) -> tuple[str, ...]:
    """Stop texts of a request, without empty ones."""
    texts = [stop] if isinstance(stop, str) else stop or []
    return tuple(text for text in texts if text)


class NamedSchema(Declared):
    """A schema with its name."""

    name: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class Format(Declared):
    """What a text is held to: nothing, any JSON object, or a schema, here or in `json_schema`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: NamedSchema | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")

    def form(self, where: str) -> Form | None:
        """What an answer is held to. where: the format's place in the body. Raises BadRequest."""
        if self.type == "text":
            return None
        within = self if self.json_schema is None else self.json_schema
        if within.schema_ is not None:
            return Form("json_schema", within.schema_)
        if self.type == "json_schema":
            place = f"{where}.schema" if within is self else f"{where}.json_schema.schema"
            raise BadRequest(f"{place} is missing", place)
        return Form("json_schema", {"type": "object"})


class FormFields(Declared):
    """What a text is held to, in OpenAI's way or llama.cpp's."""

    response_format: Format | None = None
    grammar: str | None = None
    json_schema: dict[str, Any] | None = None

    def form(self) -> Form | None:
        """What the answer is held to. Raises BadRequest."""
        if self.grammar:
            return Form("grammar", self.grammar)
        if self.json_schema is not None:
            return Form("json_schema", self.json_schema)
        return None if self.response_format is None else self.response_format.form("response_format")
