"""Completion of slash commands and of what follows them, for prompt_toolkit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from .completion import ArgumentCompleter


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


def _last_part(path: str) -> str:
    """The name of a path without the folders before it."""
    return path[path.rstrip("/").rfind("/") + 1 :]
