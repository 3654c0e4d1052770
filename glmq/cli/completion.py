"""What may follow a slash command: one of some words, or a path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

ArgumentCompleter = Callable[[str], Iterable[str]]
"""Gives whole arguments that begin with what is typed of one."""


def words(choices: Iterable[str]) -> ArgumentCompleter:
    """Completes an argument that is one of the choices."""
    known = list(choices)
    return lambda typed: [choice for choice in known if choice.startswith(typed)]


def paths(typed: str) -> list[str]:
    """Files and folders (with a slash at their end) whose path begins so; ~ is the home folder."""
    folder, name = os.path.split(typed)
    try:
        entries = sorted(os.scandir(Path(folder or ".").expanduser()), key=lambda entry: entry.name)
    except (OSError, RuntimeError):
        return []
    visible = (entry for entry in entries if not entry.name.startswith(".") or name.startswith("."))
    return [
        os.path.join(folder, entry.name) + "/" * entry.is_dir()
        for entry in visible
        if entry.name.startswith(name)
    ]
