"""Requests as they are declared: each field with its type and limits, checked and described in one place.

`request_body.py` reads bodies by these declarations, and `openapi.py` describes them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .api_error import BadRequest
from .settings import MAX_NAME

MAX_COUNT = 10**9


class Declared(BaseModel):
    """An object of a request. Unknown fields are passed over."""

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        frozen=True,
        protected_namespaces=(),
        defer_build=True,
    )


class DeclaredOpen(Declared):
    """An object of a request whose unknown fields are kept."""

    model_config = ConfigDict(extra="allow")

    def given(self) -> dict[str, Any]:
        """What was given of it, without nulls."""
        return {
            name: value for name, value in self.model_dump(exclude_unset=True).items() if value is not None
        }


def _whole(value: Any) -> Any:
    """A number such as 5.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64), Whole]
Limit = Annotated[int, Field(ge=-1, le=MAX_COUNT), Whole]
"""A number of things; -1 is that of no limit."""
Positive = Annotated[int, Field(ge=1, le=MAX_COUNT), Whole]
TokenId = Annotated[int, Field(ge=0, le=2**31)]
Name = Annotated[str, Field(max_length=MAX_NAME)]

Kind = TypeVar("Kind", bound=Declared)


def read(kind: type[Kind], value: object, where: str = "") -> Kind:
    """An object read as it is declared. where: its place in the body. Raises BadRequest."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = [
            (_path(each["loc"], value, is_missing=each["type"] == "missing"), each["msg"])
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise _bad_request(found, where) from None


def _path(location: Sequence[str | int], value: Any, *, is_missing: bool) -> tuple[str | int, ...]:
    """The place of a fault in the body: pydantic also names the alternatives of a type on the way to it."""
    path: list[str | int] = []
    for i, step in enumerate(location):
        if isinstance(value, (dict, list)) and step in _keys(value):
            value = value[step]  # type: ignore[index]
        elif not (is_missing and i == len(location) - 1):
            continue
        path.append(step)
    return tuple(path)


def _keys(value: dict[str, Any] | list[Any]) -> Container[str | int]:
    return value.keys() if isinstance(value, dict) else range(len(value))


def _bad_request(found: Sequence[tuple[tuple[str | int, ...], str]], where: str) -> BadRequest:
    """What is wrong at the innermost place, where a value fits none of its alternatives."""
    deepest = max((path for path, _ in found), key=len)
    texts = [_words(text) for path, text in found if path == deepest]
    alternatives = " or ".join(dict.fromkeys(text.removeprefix("must be ") for text in texts))
    told = f"must be {alternatives}" if texts[0].startswith("must be ") else texts[0]
    place = ".".join(map(str, (where, *deepest) if where else deepest))
    return BadRequest(f"{place or 'the body'} {told}", place or None)


def _words(text: str) -> str:
    """pydantic's words about a value, as they go on behind its name."""
    if text == "Field required":
        return "is missing"
    text = re.sub(r"a valid dictionary( or instance of \w+)?", "a JSON object", text)
    text = text.replace("a valid integer", "a whole number").replace("a valid ", "a ")
    return text.replace("Input should", "must", 1)
