"""The process that runs the functions of one Python file: `main` in an interpreter of its own.

It writes one line of JSON with its tools, `{"tools": [[name, description, parameters], ...]}` or
`{"problem": text}`. Then, for each line `{"name": ..., "arguments": {...}}` that it reads, it writes
`{"result": text}` or `{"failed": text}`. What functions print goes to standard error, and they read
nothing from standard input: both pipes are the protocol's alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import IO, Any

from glmq_kernels.errors import GlmqError

from .processes import MAX_OUTPUT
from .python_functions import PythonFunction, load_functions
from .tool import ToolFailed


def main(path: str) -> None:
    """Serve the functions of a file until standard input ends."""
    requests, answers = _own_pipes()
    try:
        functions = load_functions(Path(path))
    except GlmqError as error:
        _write(answers, {"problem": str(error)})
        return
    tools = [(tool.name, tool.description, tool.parameters) for tool in functions.values()]
    _write(answers, {"tools": tools})
    loop = asyncio.new_event_loop()
    for line in requests:
        request = json.loads(line)
        _write(answers, _answer(functions[request["name"]], request["arguments"], loop))


def _answer(
    function: PythonFunction, arguments: dict[str, Any], loop: asyncio.AbstractEventLoop
) -> dict[str, str]:
    try:
        result = function.call(arguments, loop)
    except ToolFailed as error:
        return {"failed": str(error)}
    except KeyboardInterrupt:
        return {"failed": f"{function.name} failed: KeyboardInterrupt"}
    if len(result) > MAX_OUTPUT:
        return {"failed": f"{function.name} gave a result of {len(result)} characters, which is too long"}
    return {"result": result}


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Take the pipes of standard input and output away from everything else in the process."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return requests, answers


def _write(answers: IO[bytes], value: dict[str, Any]) -> None:
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()
