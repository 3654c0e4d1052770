"""Downloads from the Hub as the command line shows them, and asks before large ones."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from glmq_kernels.errors import GlmqError

from .terminal import ask, note

if TYPE_CHECKING:
    from ..hub.names import HubName
    from ..hub.pull import Pull, Transfer

LARGE = 1_000_000_000
"""Bytes from which a download that nobody asked for by name waits for a yes."""

SECONDS_BETWEEN_LINES = 60.0
"""Where there is no terminal to draw a bar on."""


def download_named(name: HubName) -> Path:
    """Download a model that a command was asked to use; gives its first file.

    At a terminal the user is asked before a large download. Elsewhere a line says how large it is.
    """
    from ..hub.pull import plan_pull

    return _agreed(plan_pull(name))[0]


def download_checkpoint(name: HubName) -> Path:
    """The folder of a checkpoint, downloaded if it is not in the cache; asks as `download_named` does."""
    from ..hub.cache import cached_checkpoint
    from ..hub.pull import plan_checkpoint

    folder = cached_checkpoint(name)
    return folder or _agreed(plan_checkpoint(name))[0].parent


def _agreed(pull: Pull) -> list[Path]:
    """Download files, after a yes where that is a large download at a terminal."""
    if sys.stdin.isatty() and pull.n_bytes_missing >= LARGE:
        agreed = ask(f"{_what(pull)} is not here yet. Download it?", ("yes", "no"))
        if agreed != "yes":
            raise GlmqError(f"{pull.name} was not downloaded")
    return show_download(pull)


def show_download(pull: Pull) -> list[Path]:
    """Download what is missing while its progress is shown; gives the files' paths."""
    if not pull.missing:
        return pull.run()
    shown = _Bar(pull) if sys.stderr.isatty() else _Lines(pull)
    try:
        return pull.run(shown.show)
    except KeyboardInterrupt:
        shown.close()
        note("Stopped; what has come is kept, and the same command goes on from there.")
        raise
    finally:
        shown.close()


def _what(pull: Pull) -> str:
    from ..hub.model_choice import gigabytes

    tag = f":{pull.model.tag}" if pull.model and not pull.name.tag else ""
    return f"{pull.name}{tag} ({gigabytes(pull.n_bytes_missing)})"


class _Bar:
    """A bar with speed and time left on a line of its own."""

    def __init__(self, pull: Pull) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        note(f"downloading {_what(pull)}")
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._progress.start()
        self._task = self._progress.add_task("", total=pull.n_bytes)

    def show(self, transfer: Transfer) -> None:
        doing = transfer.doing if len(transfer.doing) <= 40 else f"…{transfer.doing[-39:]}"
        self._progress.update(self._task, completed=transfer.n_done, description=doing)

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """A line at the beginning, and one each minute."""

    def __init__(self, pull: Pull) -> None:
        from ..hub.cache import hub_cache

        click.echo(f"downloading {_what(pull)} to {hub_cache()}", err=True)
        self._began = self._told = time.monotonic()

    def show(self, transfer: Transfer) -> None:
        now = time.monotonic()
        if now - self._told < SECONDS_BETWEEN_LINES:
            return
        self._told = now
        speed = (transfer.n_done - transfer.n_before) / (now - self._began)
        left = (transfer.n_bytes - transfer.n_done) / speed / 60 if speed > 0 else float("inf")
        done = transfer.n_done / max(1, transfer.n_bytes)
        click.echo(f"{done:.0%}, {speed / 1e6:.1f} MB/s, {left:.0f} minutes left", err=True)

    def close(self) -> None:
        pass
