"""What the commands that run a model have in common: its options, loading it, and what is told meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from glmq_kernels.cache_layout import CACHE_TYPES

if TYPE_CHECKING:
    from ..model import Model

Command = TypeVar("Command", bound=Callable[..., Any])
DEMO = "demo"


def model_options(command: Command) -> Command:
    """Options that `open_model` takes."""
    command = click.option(
        "--ctx", type=int, metavar="N", help="Tokens of context. [default: the model's, at most 16384]"
    )(command)
    command = click.option(
        "--cache-type", type=click.Choice([name.lower() for name in CACHE_TYPES]), default="f16",
        show_default=True, help="How keys and values are kept; q8_0 takes half the memory.",
    )(command)  # fmt: skip
    return click.option("--threads", type=int, metavar="N", help="[default: all cores]")(command)


class Status:
    """A line on standard error that shows what is going on and goes away when it is over."""

    def __init__(self) -> None:
        self._width = 0
        self._told: set[str] = set()

    def show(self, text: str, fraction: float) -> None:
        """Show a text with how far it is; where standard error is no terminal, each new text once."""
        if sys.stderr.isatty():
            line = f"{text} … {fraction:.0%}"
            click.echo("\r" + line.ljust(self._width), nl=False, err=True)
            self._width = len(line)
        elif (kind := text.split(":")[0]) not in self._told:
            self._told.add(kind)
            click.echo(f"{kind} …", err=True)

    def reading(self, n_done: int, n_wanted: int) -> None:
        """Show how much of a long prompt has been read."""
        if n_done < n_wanted and sys.stderr.isatty():
            self.show(f"reading the prompt: {n_done} of {n_wanted} tokens", n_done / n_wanted)

    def clear(self) -> None:
        """Remove the line."""
        if self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width = 0


def model_path(name: str | None, status: Status) -> Path:
    """The file to load; without a name, or with the name "demo", the demo model's."""
    if name is not None and (name != DEMO or Path(name).exists()):
        return Path(name)
    from ..demo import demo_model_path

    return demo_model_path(status.show)


def open_model(
    name: str | None, ctx: int | None, threads: int | None, cache_type: str, status: Status
) -> Model:
    """Load a model and clear the status line."""
    from ..model import load

    try:
        path = model_path(name, status)
        return load(path, n_ctx=ctx, n_threads=threads, cache_type=cache_type, progress=status.show)
    finally:
        status.clear()
