"""Files that the user names: what the name means, and whether a file that is there may be overwritten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists

from .terminal import ask

T = TypeVar("T")


def named_file(name: str) -> Path:
    """The path that a user means; ~ is the home folder. Raises GlmqError for the name of a folder."""
    if not name:
        raise GlmqError("a name of a file is empty")
    path = named_path(name)
    if name.endswith(("/", "/.")) and not path.is_dir():
        raise GlmqError(f"{name} would be a folder; name a file")
    return path


def file_option(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """A callback for options and arguments that name a file (see `named_file`)."""
    return None if value is None else named_file(value)


def files_option(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[Path]:
    """The same for options that may be given several times."""
    return [named_file(value) for value in values]


def named_path(name: str) -> Path:
    """The path of a file or a folder; ~ is the home folder, and ~ with a name that of a user."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # the name of nobody
        return Path(name)


def overwriting(write: Callable[[bool], T], force: bool) -> T:
    """What `write(force)` gives. Where that would overwrite something else, it is the user's choice.

    The user is asked at a terminal. Elsewhere, and after a no, GlmqError tells how to force it.
    """
    with telling_of_force():
        try:
            return write(force)
        except FileExists as error:
            if ask(f"{error}. Overwrite it?", ("yes", "no")) != "yes":
                raise
            return write(True)


@contextmanager
def telling_of_force() -> Iterator[None]:
    """Where a file would be overwritten, tell how to force it."""
    try:
        yield
    except FileExists as error:
        raise GlmqError(f"{error}, or overwrite it with --force") from None
