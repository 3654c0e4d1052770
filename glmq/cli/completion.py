"""Completion of slash commands and of what follows them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

ArgumentCompleter = Callable[[str], Iterable[str]]
"""Gives whole arguments that begin with what is typed of one."""


class CommandCompleter(Completer):
    """Completes a message that begins with a slash.

    commands: by name, with what completes their arguments; None for those without any.
    """

    def __init__(self, commands: Mapping[str, ArgumentCompleter | None]) -> None:
        self._commands = commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What may stand in place of the command or of its argument."""
        typed = document.text_before_cursor
        if not typed.startswith("/") or "\n" in typed:
            return
        name, space, argument = typed.partition(" ")
        if not space:
            for command, completer in self._commands.items():
                if command.startswith(name):
                    yield Completion(command + " " * bool(completer), -len(name), display=command)
        elif completer := self._commands.get(name):
            argument = argument.lstrip()
            for text in completer(argument):
                yield Completion(text, -len(argument), display=_last_part(text))


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


def _last_part(path: str) -> str:
    """The name of a path without the folders before it."""
    return path[path.rstrip("/").rfind("/") + 1 :]
