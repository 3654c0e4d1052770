"""The commands of a chat that begin with a slash.

conversation_commands  what was said: undo, retry, edit, compact
file_commands          from and to files
settings_commands      how answers are made, and by which model
"""

from __future__ import annotations

from glmq_kernels.errors import GlmqError

from ..completion import ArgumentCompleter
from ..talk import Talk
from . import conversation_commands, file_commands, settings_commands
from .slash_command import Quit, SlashCommand

__all__ = ["COMMANDS", "Quit", "completers", "run"]


def run(line: str, talk: Talk) -> str:
    """Do what a line that begins with a slash asks for; gives what to tell the user, if anything.

    Raises GlmqError for what cannot be done, Quit for /quit.
    """
    name, _, argument = line.partition(" ")
    first, _, rest = name.partition("\n")
    if first not in COMMANDS:
        raise GlmqError(
            f"there is no command {first}; /help lists them (a space before it makes it a message)"
        )
    argument = f"{rest} {argument}".strip()
    if argument and not COMMANDS[first].arguments:
        raise GlmqError(f"{first} stands alone, without {argument.splitlines()[0][:40]!r} behind it")
    return COMMANDS[first].run(talk, argument)


def completers() -> dict[str, ArgumentCompleter | None]:
    """What completes the arguments of each command."""
    return {name: command.completer for name, command in COMMANDS.items()}


def _help(talk: Talk, argument: str) -> str:
    left = {f"{name} {command.arguments}".strip(): command.help for name, command in COMMANDS.items()}
    left |= {
        "--force": "before FILE: overwrite what is there",
        "Alt-Enter": 'begin a new line; or end one with \\, or put """ around all',
        "Tab": "complete a command, a setting or a path",
        "Ctrl-C": "stop an answer, or clear what is typed",
        "Ctrl-D": "leave",
    }
    width = max(map(len, left))
    return "\n".join(f"{what:{width}}  {does}" for what, does in left.items())


def _quit(talk: Talk, argument: str) -> str:
    raise Quit


COMMANDS = {
    "/help": SlashCommand("", "list the commands", _help),
    **conversation_commands.COMMANDS,
    **file_commands.COMMANDS,
    **settings_commands.COMMANDS,
    "/quit": SlashCommand("", "leave", _quit),
}
