"""The commands of a chat that begin with a slash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glmq_kernels.errors import UserError

from ..chat.conversation import Conversation
from ..chat.conversation_files import load_conversation, save_conversation


class Quit(Exception):
    """The user wants to leave."""


@dataclass(frozen=True)
class SlashCommand:
    """`run` changes the conversation and gives what to tell the user."""

    arguments: str
    help: str
    run: Callable[[Conversation, str], str]


def run(line: str, conversation: Conversation) -> str:
    """Do what a line that begins with a slash asks for; gives what to tell the user.

    Raises UserError for what cannot be done, Quit for /quit.
    """
    name, _, argument = line.partition(" ")
    if name not in COMMANDS:
        raise UserError(
            f"there is no command {name}; /help lists them (a space before it makes it a message)"
        )
    return COMMANDS[name].run(conversation, argument.strip())


def _help(conversation: Conversation, argument: str) -> str:
    left = {f"{name} {command.arguments}".strip(): command.help for name, command in COMMANDS.items()}
    left |= {"Alt-Enter": "begin a new line", "Ctrl-C": "stop an answer", "Ctrl-D": "leave"}
    width = max(map(len, left))
    return "\n".join(f"{what:{width}}  {does}" for what, does in left.items())


def _clear(conversation: Conversation, argument: str) -> str:
    conversation.clear()
    return "The conversation begins anew."


def _quit(conversation: Conversation, argument: str) -> str:
    raise Quit


def _system(conversation: Conversation, argument: str) -> str:
    if not argument:
        return conversation.system or "There is no system message."
    conversation.set_system(None if argument == "off" else argument)
    return "The system message is set." if conversation.system else "The system message is gone."


def _save(conversation: Conversation, argument: str) -> str:
    path = _path(argument, "/save")
    save_conversation(conversation, path)
    return f"Saved {len(conversation.messages)} messages to {path}."


def _load(conversation: Conversation, argument: str) -> str:
    path = _path(argument, "/load")
    conversation.messages = load_conversation(path).messages
    return f"Loaded {len(conversation.messages)} messages from {path}."


def _path(argument: str, command: str) -> Path:
    if not argument:
        raise UserError(f"name a file: {command} FILE")
    return Path(argument).expanduser()


COMMANDS = {
    "/help": SlashCommand("", "list the commands", _help),
    "/clear": SlashCommand("", "forget the conversation, but not the system message", _clear),
    "/system": SlashCommand("[TEXT]", "show or set the system message (off removes it)", _system),
    "/save": SlashCommand("FILE", "write the conversation to a file", _save),
    "/load": SlashCommand("FILE", "go on with the conversation of a file", _load),
    "/quit": SlashCommand("", "leave", _quit),
}
