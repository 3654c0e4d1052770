"""Reading messages and writing answers, at a terminal or through pipes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from glmq_kernels.cache_folder import cache_folder

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters with which a model's answer could steer a terminal."""


def write(piece: str) -> None:
    """Write a piece of an answer at once."""
    if sys.stdout.isatty():
        piece = CONTROLS.sub("\ufffd", piece)
    click.echo(piece, nl=False)
    sys.stdout.flush()


def note(text: str) -> None:
    """Say something that is not part of an answer, on standard error."""
    click.secho(text, err=True, dim=True)


def messages(commands: Sequence[str]) -> Iterator[str]:
    """What the user types, one message after another; lines of standard input where it is a pipe.

    commands: offered for completion. Ctrl-D ends, Ctrl-C too when pressed twice.
    """
    if not sys.stdin.isatty():
        for line in sys.stdin.buffer:
            yield line.decode("utf-8", "replace").rstrip()
        return
    session = _prompt_session(commands)
    interrupted = False
    while True:
        try:
            text = session.prompt([("ansigreen bold", "> ")])
        except KeyboardInterrupt:
            if interrupted:
                return
            interrupted = True
            note("Press Ctrl-C again, or Ctrl-D, to leave.")
        except EOFError:
            return
        else:
            interrupted = False
            yield text.rstrip()


def _prompt_session(commands: Sequence[str]) -> PromptSession[str]:
    """Line editing with history; Alt-Enter begins a new line, Enter sends."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.output import create_output

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    return PromptSession(
        history=FileHistory(str(cache_folder() / "chat-history")),
        completer=WordCompleter(list(commands), sentence=True),
        complete_while_typing=False,
        key_bindings=keys,
        prompt_continuation="  ",
        # Beside the answers in a terminal, but not among them when those go elsewhere.
        output=create_output(stdout=sys.stdout if sys.stdout.isatty() else sys.stderr),
    )
