"""Commands that read or write files."""

from __future__ import annotations

from pathlib import Path

from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists

from ...text_file import read_text_file
from ..completion import paths
from ..named_files import named_file, overwriting
from ..talk import Talk
from ..terminal import counted
from .slash_command import SlashCommand

FORCE = "--force"


def _save(talk: Talk, argument: str) -> str:
    path, force = _path_to_write(argument, "/save")
    overwriting(lambda forced: talk.chat.save_messages(path, force=forced), force)
    return f"Saved {_messages(talk)} to {path}."


def _load(talk: Talk, argument: str) -> str:
    path = _path(argument, "/load")
    talk.chat.load_messages(path)
    return f"Loaded {_messages(talk)} from {path}."


def _export(talk: Talk, argument: str) -> str:
    path, force = _path_to_write(argument, "/export")
    force = force or (path in talk.exported and talk.exported[path] == _state(path))
    overwriting(lambda forced: talk.chat.export(path, force=forced), force)
    talk.exported[path] = _state(path)
    return f"Wrote {_messages(talk)} to {path}."


def _session(talk: Talk, argument: str) -> str:
    path, force = _path_to_write(argument, "/session")
    kept = talk.chat.kept
    if kept is not None and _state(path)[:2] == _state(kept.path)[:2] != ():
        talk.save_session()
    else:
        overwriting(lambda forced: _keep_in(talk, path, forced), force)
    return f"The chat and its state are kept in {path} from now on."


def _keep_in(talk: Talk, path: Path, force: bool) -> None:
    try:
        talk.chat.keep_in(path, force=force)
    except FileExists as error:
        raise FileExists(f"{error}, go on with it by --session when you start") from None


def _file(talk: Talk, argument: str) -> str:
    path = _path(argument, "/file")
    text = read_text_file(path)
    talk.chat.attach(path.name, text)
    return f"{path} goes with your next message, {counted(len(talk.model.tokenize(text)), 'token')}."


def _image(talk: Talk, argument: str) -> str:
    raise GlmqError("the model reads text only, no images; describe what is in it")


def _messages(talk: Talk) -> str:
    return counted(len(talk.chat.messages), "message")


def _path(argument: str, command: str) -> Path:
    if not argument:
        raise GlmqError(f"name a file: {command} FILE")
    return named_file(argument)


def _path_to_write(argument: str, command: str) -> tuple[Path, bool]:
    """The path, and whether --force is before or behind it."""
    words = argument.split()
    first, last = words[:1] == [FORCE], words[-1:] == [FORCE]
    if first:
        argument = argument.removeprefix(FORCE).strip()
    elif last:
        argument = argument.removesuffix(FORCE).strip()
    return _path(argument, command), first or last


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file is written; nothing where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


COMMANDS = {
    "/save": SlashCommand("FILE", "write the conversation to a file", _save, paths),
    "/load": SlashCommand("FILE", "go on with the conversation of a file", _load, paths),
    "/export": SlashCommand("FILE", "write it for others, as .md or as OpenAI's .json", _export, paths),
    "/session": SlashCommand("FILE", "keep the conversation and the model's state there", _session, paths),
    "/file": SlashCommand("FILE", "put a text file before your next message", _file, paths),
    "/image": SlashCommand("FILE", "not possible: these models read text only", _image),
}
