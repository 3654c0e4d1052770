"""What the user types, message after message."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from glmq_kernels.errors import GlmqError
from glmq_kernels.jit.cache_folder import cache_folder

from .terminal import note, prompt_output

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    from .completion import ArgumentCompleter

QUOTES = '"""'


def messages(
    commands: Mapping[str, ArgumentCompleter | None],
    status: Callable[[], str] | None = None,
    keep_history: bool = True,
) -> Iterator[str]:
    """Messages as they are typed.

    Enter sends, except after a backslash and inside triple quotes; Alt-Enter begins a new line. Pasted lines
    are one message. Ctrl-C clears what is typed. Ctrl-D ends, and so does Ctrl-C twice on an empty line.

    commands: see `CommandCompleter`. status: gives a short text that is shown below while the user types.
    keep_history: whether the next chat has what is typed in this one.
    """
    session = _prompt_session(commands, status, keep_history)
    interrupted = False
    while True:
        try:
            text = session.prompt([("ansigreen bold", "> ")])
        except KeyboardInterrupt:
            if session.default_buffer.text:  # on a very simple terminal, which has no keys of its own
                continue
            if interrupted:
                return
            interrupted = True
            note("Press Ctrl-C again, or Ctrl-D, to leave.")
        except EOFError:
            return
        else:
            interrupted = False
            yield _without_quotes(text.rstrip())


def _prompt_session(
    commands: Mapping[str, ArgumentCompleter | None], status: Callable[[], str] | None, keep_history: bool
) -> PromptSession[str]:
    """Line editing with history and completion."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.shortcuts import CompleteStyle
    from prompt_toolkit.styles import Style

    from .command_completer import CommandCompleter

    return PromptSession(
        history=_history(keep_history),
        completer=CommandCompleter(commands),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        key_bindings=_keys(),
        prompt_continuation="  ",
        bottom_toolbar=status,
        style=Style.from_dict({"bottom-toolbar": "noreverse ansibrightblack"}),
        output=prompt_output(),
    )


def _history(keep: bool) -> History:
    """What was typed, in earlier chats too: those are in a file that nobody else may read."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    if not keep:
        return InMemoryHistory()
    try:
        path = cache_folder() / "chat-history"
        if path.exists() and not path.is_file():
            raise GlmqError(f"{path} is not a file")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except (OSError, GlmqError) as error:
        note(f"What you type is not kept for later chats: {error}.")
        return InMemoryHistory()
    return FileHistory(str(path))


def _keys() -> KeyBindings:
    """Enter, Alt-Enter and Ctrl-C."""
    from prompt_toolkit.application import get_app
    from prompt_toolkit.enums import DEFAULT_BUFFER
    from prompt_toolkit.filters import Condition, has_focus
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        elif _in_quotes(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add(
        "c-c", filter=has_focus(DEFAULT_BUFFER) & Condition(lambda: bool(get_app().current_buffer.text))
    )
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return keys


def _in_quotes(text: str) -> bool:
    """Whether triple quotes at the beginning wait for others at the end."""
    return text.lstrip().startswith(QUOTES) and text.count(QUOTES) % 2 == 1


def _without_quotes(text: str) -> str:
    """A message in triple quotes is what is between them."""
    inside = text.strip().removeprefix(QUOTES).removesuffix(QUOTES)
    if text.strip() != f"{QUOTES}{inside}{QUOTES}" or QUOTES in inside:
        return text
    return inside.strip("\n")
