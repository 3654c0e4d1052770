"""JSON files of tools: OpenAI's definitions, each with the command that runs it.

[
  {
    "type": "function",
    "function": {
      "name": "find_text",
      "description": "Lines of the project that hold a text.",
      "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    },
    "command": ["grep", "-rnI", "--", "{text}", "."],
    "cwd": "."
  }
]

`command`: a list, run without a shell, or a string, run by one; `command.Command` tells how values
reach it. `cwd`: the directory it runs in, beginning at the file's own; without it, that in which glmq was
started.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from glmq_kernels.errors import GlmqError

from .call_arguments import schema_problem
from .command import Command, placeholders
from .tool import Tool, ToolSource

ENTRY_KEYS = {"type", "function", "command", "cwd"}
FUNCTION_KEYS = {"name", "description", "parameters", "strict"}
NO_PARAMETERS = {"type": "object", "properties": {}}


def load_json_tools(path: Path) -> ToolSource:
    """The tools of a file. Raises GlmqError with the entry and what is wrong with it."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise GlmqError(f"{path}:{error.lineno}: this is not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise GlmqError(f"{path} is not JSON in UTF-8") from None
    if not isinstance(entries, list):
        raise GlmqError(f"{path} holds no list; write [ and ] around the tools")
    return ToolSource(tuple(_tool(entry, f"{path}, tool {i}", path) for i, entry in enumerate(entries, 1)))


def _tool(entry: Any, place: str, path: Path) -> Tool:
    _check_keys(entry, ENTRY_KEYS, place)
    function = entry.get("function")
    _check_keys(function, FUNCTION_KEYS, f'{place}, "function"')
    name, description = function.get("name"), function.get("description", "")
    if not isinstance(name, str) or not name or any(c.isspace() or c in "<>" for c in name):
        raise GlmqError(f'{place}: "name" must be a word')
    place = f"{path}, tool {name}"
    if not isinstance(description, str):
        raise GlmqError(f'{place}: "description" must be a text')
    schema = function.get("parameters") or NO_PARAMETERS
    _check_schema(schema, place)
    return Tool(name, description, schema, _command(entry, schema, path, place).run, str(path))


def _check_keys(value: Any, known: set[str], place: str) -> None:
    if not isinstance(value, dict):
        raise GlmqError(f"{place} is no object; it needs {', '.join(sorted(known))}")
    if unknown := sorted(value.keys() - known):
        raise GlmqError(f"{place}: {unknown[0]!r} is not known; known are {', '.join(sorted(known))}")


def _check_schema(schema: Any, place: str) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise GlmqError(f'{place}: "parameters" must be a JSON schema of "type": "object"')
    if (problem := schema_problem(schema)) is not None:
        raise GlmqError(f'{place}: "parameters" is no JSON schema: {problem}')


def _command(entry: dict[str, Any], schema: dict[str, Any], path: Path, place: str) -> Command:
    words, directory = entry.get("command"), entry.get("cwd")
    if directory is not None:
        if not isinstance(directory, str) or not (path.parent / directory).is_dir():
            raise GlmqError(f'{place}: "cwd" must be a directory, beginning at that of the file')
        directory = (path.parent / directory).resolve()
    names = set(schema.get("properties", {}))
    if isinstance(words, str) and words.strip():
        _check_line(words, names, place)
    elif isinstance(words, list) and words and all(isinstance(word, str) for word in words) and words[0]:
        _check_words(words, names, directory, place)
        words = tuple(words)
    else:
        raise GlmqError(f'{place}: "command" must be a list of a program and its arguments, or a string')
    defaults = {
        name: parameter["default"]
        for name, parameter in schema.get("properties", {}).items()
        if isinstance(parameter, dict) and "default" in parameter
    }
    return Command(words, directory, defaults)


def _check_line(line: str, names: set[str], place: str) -> None:
    for name in placeholders(line):
        if name in names:
            raise GlmqError(
                f'{place}: a command that is a string takes "$ARG_{name}", not {{{name}}}; or make it a list'
            )


def _check_words(words: list[str], names: set[str], directory: Path | None, place: str) -> None:
    if placeholders(words[0]):
        raise GlmqError(f"{place}: the program must be fixed, not {words[0]}")
    for name in (name for word in words[1:] for name in placeholders(word)):
        if name not in names:
            raise GlmqError(f"{place}: {{{name}}} is none of its parameters; {{{{{name}}}}} gives the text")
    program = words[0]
    if os.path.dirname(program):
        program = str((directory or Path.cwd()) / program)
    if shutil.which(program) is None:
        raise GlmqError(f"{place}: the program {words[0]} is not found; install it or give its path")
