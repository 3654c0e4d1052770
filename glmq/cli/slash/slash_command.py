"""What a slash command is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..completion import ArgumentCompleter
from ..talk import Talk


class Quit(Exception):
    """The user wants to leave."""


@dataclass(frozen=True)
class SlashCommand:
    """`run` acts on the talk and gives what to tell the user. completer: of its argument."""

    arguments: str
    help: str
    run: Callable[[Talk, str], str]
    completer: ArgumentCompleter | None = None
