"""The fields of a JSON object in a request, read with their types. `null` counts as not there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .api_error import BadRequest

_MISSING: Any = object()


class Fields:
    """Reads an object. where: what its fields are called in messages, such as "messages.0"."""

    def __init__(self, value: object, where: str = "") -> None:
        if not isinstance(value, dict):
            raise BadRequest(f"{where or 'the body'} must be a JSON object", where or None)
        self.values: dict[str, Any] = value
        self._where = where

    def path(self, name: str) -> str:
        """The full name of a field."""
        return f"{self._where}.{name}" if self._where else name

    def has(self, name: str) -> bool:
        """Whether a field is there."""
        return self.values.get(name) is not None

    def text(self, name: str, default: Any = None, *, max_length: int | None = None) -> Any:
        """A text."""
        value = self._get(name, str, "a string", default)
        if isinstance(value, str) and max_length is not None and len(value) > max_length:
            raise BadRequest(f"{self.path(name)} is longer than {max_length} characters", self.path(name))
        return value

    def required_text(self, name: str) -> str:
        """A text that must be there."""
        value: str = self._get(name, str, "a string", _MISSING)
        return value

    def switch(self, name: str, default: Any = None) -> Any:
        """True or false."""
        return self._get(name, bool, "true or false", default)

    def integer(self, name: str, default: Any = None, *, least: int = -(2**63), most: int = 2**63) -> Any:
        """A whole number; one such as 5.0 too."""
        value = self.number(name, default)
        if value is None or value is default:
            return default
        if value != int(value):
            raise BadRequest(f"{self.path(name)} must be a whole number", self.path(name))
        if not least <= value <= most:
            raise BadRequest(f"{self.path(name)} must be from {least} to {most}", self.path(name))
        return int(value)

    def number(self, name: str, default: Any = None) -> Any:
        """A finite number."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise BadRequest(f"{self.path(name)} must be a number", self.path(name))
        if abs(value) > 1e300 or not math.isfinite(value):
            raise BadRequest(f"{self.path(name)} is too large", self.path(name))
        return value

    def one_of(self, name: str, choices: Sequence[str], default: Any = None) -> Any:
        """One of some texts."""
        value = self.text(name, default)
        if value is not default and value not in choices:
            raise BadRequest(f"{self.path(name)} must be one of {', '.join(choices)}", self.path(name))
        return value

    def objects(self, name: str) -> list[dict[str, Any]]:
        """A list of objects, empty where it is not there."""
        values = self._get(name, list, "a list", [])
        for i, value in enumerate(values):
            if not isinstance(value, dict):
                path = f"{self.path(name)}.{i}"
                raise BadRequest(f"{path} must be a JSON object", path)
        found: list[dict[str, Any]] = values
        return found

    def list(self, name: str, default: Any = None) -> Any:
        """A list of anything."""
        return self._get(name, list, "a list", default)

    def object(self, name: str) -> Fields | None:
        """An object within."""
        value = self.values.get(name)
        return None if value is None else Fields(value, self.path(name))

    def _get(self, name: str, kind: type, what: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            if default is _MISSING:
                raise BadRequest(f"{self.path(name)} is missing", self.path(name))
            return default
        if not isinstance(value, kind):
            raise BadRequest(f"{self.path(name)} must be {what}", self.path(name))
        return value
