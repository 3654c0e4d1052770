"""Python functions as tools: definitions from type hints and docstrings, checked calls, results as text.

A file's public functions are tools, not those that it imports. Each needs a docstring, in the style of
Google, NumPy or reST, and a type hint for each parameter, anything that pydantic knows. `async` functions
run too. A result that is a string goes to the model as it is, anything else as JSON.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from glmq_kernels.errors import GlmqError

from ..optional_packages import optional_packages
from .tool import ToolFailed


@dataclass(frozen=True)
class PythonFunction:
    """A function of a file and what the model is told of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]
    path: Path

    @cached_property
    def _checked(self) -> Callable[..., Any]:
        from pydantic import validate_call

        return validate_call(self.function)

    def call(self, arguments: dict[str, Any], loop: asyncio.AbstractEventLoop) -> str:
        """The result's text; `loop` runs async functions. Raises ToolFailed, and KeyboardInterrupt."""
        from pydantic import ValidationError
        from pydantic_core import PydanticSerializationError

        try:
            result = self._checked(**arguments)
            if inspect.isawaitable(result):
                result = loop.run_until_complete(_outcome(result))
            return result if isinstance(result, str) else _json(result)
        except PydanticSerializationError as error:
            reason = f"its result is no JSON: {error}"
        except ValidationError as error:
            reason = "; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            line = _line_in(self.path, error)
            reason = f"{type(error).__name__}: {error} ({self.path.name}, line {line})"
        raise ToolFailed(f"{self.name} failed: {reason}")


async def _outcome(awaitable: Any) -> Any:
    return await awaitable


def _json(value: Any) -> str:
    from pydantic_core import to_json

    return to_json(value, fallback=str, bytes_mode="base64", inf_nan_mode="constants").decode()


def load_functions(path: Path) -> dict[str, PythonFunction]:
    """The tools of a file, by name. Raises GlmqError: file, line and reason."""
    module = _imported(path)
    functions = {
        name: described_function(name, _plain(value), path)
        for name, value in vars(module).items()
        if not name.startswith("_") and _is_function_of(module, value)
    }
    if not functions:
        raise GlmqError(f"{path} holds no public function; functions without _ before their names are tools")
    return functions


def _imported(path: Path) -> ModuleType:
    """The file as a module whose name collides with none. Its folder is searched for what it imports."""
    spec = importlib.util.spec_from_file_location(f"tools_of_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise GlmqError(f"{error.filename or path}:{error.lineno or 1}: {error.msg}") from None
    except BaseException as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise GlmqError(f"{path}:{_line_in(path, error)}: {reason}") from None
    return module


def _line_in(path: Path, error: BaseException) -> int:
    """The last line of the file that an exception went through."""
    lines = [
        frame.lineno or 1
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    return lines[-1] if lines else 1


def _is_function_of(module: ModuleType, value: Any) -> bool:
    """Whether a function was defined in the file, whatever decorators it has."""
    if inspect.isclass(value) or not callable(value):
        return False
    function = inspect.unwrap(value)
    return inspect.isfunction(function) and function.__module__ == module.__name__


def _plain(value: Callable[..., Any]) -> Callable[..., Any]:
    """What a decorator has made an object of, as a function again, which pydantic takes."""
    if inspect.isfunction(value):
        return value

    @wraps(value)
    def call(*arguments: Any, **named: Any) -> Any:
        return value(*arguments, **named)

    return call


def described_function(name: str, value: Callable[..., Any], path: Path) -> PythonFunction:
    """A function of a file as the model is told of it. Raises GlmqError for what of it is not told."""
    with optional_packages():
        from docstring_parser import parse

    place = f"{path}:{inspect.unwrap(value).__code__.co_firstlineno}: {name}"
    for parameter in inspect.signature(value).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise GlmqError(f"{place}: the parameter {parameter.name} cannot be given by name; make it plain")
        if parameter.annotation is parameter.empty:
            raise GlmqError(f"{place}: the parameter {parameter.name} has no type hint")
    documentation = parse(inspect.getdoc(value) or "")
    description = " ".join((documentation.description or "").split("\n\n")[0].split())
    if not description:
        raise GlmqError(f"{place} has no docstring that says what it does; or begin its name with _")
    schema = _schema(value, place)
    for told in documentation.params:
        if told.arg_name in schema["properties"] and told.description:
            text = " ".join(told.description.split())
            schema["properties"][told.arg_name].setdefault("description", text)
    return PythonFunction(name, description, schema, value, path)


def _schema(value: Any, place: str) -> dict[str, Any]:
    """The JSON schema of a function's parameters: short, as the model reads all of it."""
    with optional_packages():
        from pydantic import TypeAdapter

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a default that is no JSON is left out
            written: dict[str, Any] = TypeAdapter[Any](value).json_schema()
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise GlmqError(f"{place}: its type hints make no JSON schema: {reason}") from None
    definitions = written.pop("$defs", {})
    first = {"type": "object", "properties": {}}
    schema: dict[str, Any] = first | _inlined(written, definitions, ())
    if '"#/$defs/' in _json(schema):  # what holds itself
        schema["$defs"] = {name: _inlined(kept, {}, ()) for name, kept in definitions.items()}
    return schema


def _inlined(schema: Any, definitions: dict[str, Any], inside: tuple[str, ...]) -> Any:
    """A schema with its definitions where they are used, and without pydantic's titles."""
    if isinstance(schema, list):
        return [_inlined(part, definitions, inside) for part in schema]
    if not isinstance(schema, dict):
        return schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions and name not in inside:
        rest = {key: part for key, part in schema.items() if key != "$ref"}
        return _inlined({**definitions[name], **rest}, definitions, (*inside, name))
    return {
        key: (
            {name: _inlined(part, definitions, inside) for name, part in value.items()}
            if key == "properties"
            else _inlined(value, definitions, inside)
        )
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
