"""What goes to the user beside answers, and questions to them, at a terminal or through pipes."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click
from glmq_kernels.errors import GlmqError

from .live_region import terminal_size

if TYPE_CHECKING:
    from prompt_toolkit.output import Output

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters with which a model's answer could steer a terminal."""


def neutral(text: str) -> str:
    """The text with a sign for each character that would steer a terminal."""
    return CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))


def write(piece: str) -> None:
    """Write a piece of an answer at once."""
    click.echo(neutral(piece) if sys.stdout.isatty() else piece, nl=False)
    sys.stdout.flush()


def counted(n: int, noun: str) -> str:
    """A number of things, such as "1 turn"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def note(text: str) -> None:
    """Say something that is not part of an answer, on standard error."""
    click.echo(dimmed(_wrapped(text), sys.stderr) if sys.stderr.isatty() else text, err=True)


def _wrapped(text: str) -> str:
    """The text with its lines broken between words where the terminal would break them within."""
    columns = terminal_size(sys.stderr)[0]
    return "\n".join(
        textwrap.fill(
            line,
            columns,
            subsequent_indent=" " * min(len(line) - len(line.lstrip()), columns // 2),
            expand_tabs=False,
            replace_whitespace=False,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    )


def dimmed(text: str, terminal: TextIO) -> str:
    """The text for a terminal, dim where that is known, and neutral."""
    return neutral(text) if os.environ.get("TERM") == "dumb" else click.style(neutral(text), dim=True)


def ask(question: str, choices: Sequence[str]) -> str | None:
    """The one of the choices that the user takes; its first letters are enough.

    None when there is no terminal to ask at, and after Ctrl-C or Ctrl-D. What was typed before the question
    was shown is no answer.
    """
    if not sys.stdin.isatty():
        return None
    try:
        return _asked(question, choices)
    except (KeyboardInterrupt, EOFError):
        return None


def _asked(question: str, choices: Sequence[str]) -> str:
    from prompt_toolkit import PromptSession

    _forget_typed()
    session: PromptSession[str] = PromptSession(output=prompt_output())
    while True:
        answer = session.prompt(f"{neutral(question)} [{'/'.join(choices)}] ").strip().lower()
        chosen = [choice for choice in choices if answer and choice.lower().startswith(answer)]
        if len(chosen) == 1:
            return chosen[0]


def ask_for_line(question: str) -> str | None:
    """What the user answers in a line; None after Ctrl-D. Ctrl-C raises KeyboardInterrupt.

    What was typed before the question was shown is no answer.
    """
    _forget_typed()
    line = ""
    try:
        with _shown_as_typed():
            click.secho(question, nl=False, err=True)
            line = sys.stdin.readline()
    finally:
        if not line.endswith("\n"):
            click.echo(err=True)
    return line.rstrip("\n") if line else None


def edit_text(initial: str) -> str | None:
    """The text as it is left in $VISUAL or $EDITOR; None when it was not saved there.

    Raises GlmqError when there is no editor or it fails.
    """
    try:
        return click.edit(initial, extension=".md")
    except click.ClickException as error:
        raise GlmqError(f"{error.format_message()}; set EDITOR to a program that edits files") from None


def prompt_output() -> Output | None:
    """Where prompts go: beside the answers in a terminal, but not among them when those go elsewhere.

    None leaves it to prompt_toolkit, which then uses no codes on a very simple terminal.
    """
    from prompt_toolkit.output import create_output
    from prompt_toolkit.utils import is_dumb_terminal

    if sys.stdout.isatty() and is_dumb_terminal():
        return None
    return create_output(stdout=sys.stdout if sys.stdout.isatty() else sys.stderr)


@contextmanager
def _shown_as_typed() -> Iterator[None]:
    """Let the terminal show what is typed, also while an answer keeps it from that."""
    if sys.platform == "win32":
        yield
        return
    import termios

    descriptor = sys.stdin.fileno()
    attributes = termios.tcgetattr(descriptor)
    shown = attributes.copy()
    shown[3] |= termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, shown)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


def _forget_typed() -> None:
    if sys.platform == "win32":
        return
    import termios

    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
