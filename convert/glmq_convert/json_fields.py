"""JSON files of a checkpoint, and their fields with the types that they must have.

Errors name the field; `errors_in` puts the file before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glmq_kernels.errors import GlmqError

LONGEST_SHOWN = 40
LARGEST = 1e30


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises GlmqError when there is no such file, or something else in it."""
    if not path.is_file():
        raise GlmqError(f"{path.parent} holds no {path.name}; download it with the checkpoint")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise GlmqError(f"{path} is nested too deeply to be read; download it again") from None
    except ValueError as error:
        raise GlmqError(f"{path} is not JSON ({_one_line(error)}); download it again") from None
    if not isinstance(content, dict):
        raise GlmqError(f"{path} does not hold a JSON object; download it again")
    return content


def read_text(path: Path) -> str:
    """A text file. Raises GlmqError when it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise GlmqError(f"{path} is not UTF-8 text; save it as UTF-8 or download it again") from None


@contextmanager
def errors_in(path: Path) -> Iterator[None]:
    """Put the name of a file before the message of a GlmqError."""
    try:
        yield
    except GlmqError as error:
        raise GlmqError(f"{path}: {error}") from None


def whole(content: Mapping[str, Any], key: str, default: int, least: int = 1) -> int:
    """An integer from `least` up, below 2**31; the default where the key is absent."""
    value = content.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        raise _wrong(key, value, f"a whole number from {least} up")
    return value


def number(content: Mapping[str, Any], key: str, default: float) -> float:
    """A number from 0 up; the default where the key is absent."""
    value = content.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < LARGEST:
        raise _wrong(key, value, "a number from 0 up")
    return float(value)


def positive(content: Mapping[str, Any], key: str, default: float) -> float:
    """A number above 0; the default where the key is absent."""
    value = number(content, key, default)
    if value == 0:
        raise _wrong(key, value, "a number above 0")
    return value


def flag(content: Mapping[str, Any], key: str, default: bool) -> bool:
    """A truth value; the default where the key is absent."""
    value = content.get(key, default)
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def text(content: Mapping[str, Any], key: str, default: str | None = None) -> str | None:
    """A string; the default where the key is absent or null."""
    value = content.get(key)
    if value is None:
        return default
    return checked_text(value, key)


def checked_text(value: Any, name: str) -> str:
    """A string that can be written as UTF-8; GlmqError for anything else."""
    if not isinstance(value, str):
        raise _wrong(name, value, "text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise GlmqError(
            f"{name} holds half a character (a lone surrogate); download the file again"
        ) from None
    return value


def table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object; an empty one where the key is absent or null."""
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(key, value, "an object")
    return value


def items(content: Mapping[str, Any], key: str) -> list[Any]:
    """A list; an empty one where the key is absent or null."""
    value = content.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(key, value, "a list")
    return value


def tables(content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """A list of objects; an empty one where the key is absent or null."""
    found = items(content, key)
    for value in found:
        if not isinstance(value, dict):
            raise _wrong(f"an entry of {key}", value, "an object")
    return found


def _wrong(key: str, value: Any, wanted: str) -> GlmqError:
    return GlmqError(f"{key} is {shown(value)}; it must be {wanted}")


def shown(value: Any) -> str:
    """A value for a message, in one line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    found = "null" if value is None else str(value).lower() if isinstance(value, bool) else ascii(value)
    return found if len(found) <= LONGEST_SHOWN else found[:LONGEST_SHOWN] + "…"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
