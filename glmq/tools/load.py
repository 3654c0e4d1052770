"""Files of tools."""

from __future__ import annotations

import os
from pathlib import Path

from glmq_kernels.errors import GlmqError

from .tool import ToolSource


def load_tools(path: str | os.PathLike[str]) -> ToolSource:
    """The tools of FILE.json, commands with schemas, or FILE.py, functions.

    What the files hold is told in `json_file` and `python_functions`. Raises GlmqError with one line.
    """
    path = Path(path)
    if path.suffix not in (".json", ".py"):
        raise GlmqError(f"{path} is no file of tools; give one that ends in .json or .py")
    if not path.is_file():
        raise GlmqError(f"{path} cannot be read: there is no such file")
    if path.suffix == ".json":
        from .json_file import load_json_tools

        return load_json_tools(path)
    from .python_file import load_python_tools

    return load_python_tools(path)
