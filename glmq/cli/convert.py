"""`glmq convert`: a Hugging Face checkpoint to a GGUF file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .named_files import file_option, telling_of_force

if TYPE_CHECKING:
    from glmq_convert.gguf_writer import Progress


@click.command(short_help="Quantize a checkpoint to a GGUF file.")
@click.argument("checkpoint_dir", type=click.Path(path_type=Path))
@click.argument("out", callback=file_option, required=False, metavar="[OUT.gguf]")
@click.option(
    "--type",
    "type_name",
    metavar="NAME",
    default="q8_0",
    show_default=True,
    help="Of the large matrices.",
)
@click.option("--no-mtp", is_flag=True, help="Leave the multi-token-prediction layer out.")
@click.option("--force", is_flag=True, help="Replace the file OUT if there is one.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="[default: all cores]")
def convert(
    checkpoint_dir: Path, out: Path | None, type_name: str, no_mtp: bool, force: bool, threads: int | None
) -> None:
    """Convert the Glm4Moe or Glm4MoeLite checkpoint in CHECKPOINT_DIR.

    The folder holds config.json, *.safetensors and tokenizer.json.

    OUT is a file or a folder, by default the current one. It appears when it is complete. A file that is
    there already is not replaced without --force.
    """
    from glmq_convert.conversion import convert as run

    remarks: list[str] = []
    began = time.perf_counter()
    with telling_of_force(), _Bar() as progress:
        path = run(
            checkpoint_dir,
            out,
            type_name,
            not no_mtp,
            progress,
            threads,
            remark=remarks.append,
            force=force,
        )
    seconds = time.perf_counter() - began
    for text in remarks:
        click.echo(f"note: {text}", err=True)
    size = path.stat().st_size
    click.echo(f"{path}: {size / 1e9:.2f} GB in {seconds:.1f} s ({size / 1e6 / seconds:.0f} MB/s written)")


class _Bar:
    """A progress bar on standard error with speed and time left; nothing where that is no terminal."""

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
            console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True,
        )  # fmt: skip
        self._progress.start()
        self._task = self._progress.add_task("convert", total=None)
        return self._show

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def _show(self, n_done: int, n_bytes: int) -> None:
        self._progress.update(self._task, completed=n_done, total=n_bytes)
