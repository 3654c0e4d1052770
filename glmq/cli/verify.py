"""`glmq verify`: whether a GGUF file holds what it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from glmq_kernels.errors import GlmqError

from .options import Status, model_path
from .terminal import counted, note

if TYPE_CHECKING:
    from glmq_convert.model_source import ModelSource
    from glmq_convert.verification import TensorCheck

    from ..gguf import GGUFFile

SHOWN = 20
"""Problems that are shown at most."""


@click.command(short_help="Check a GGUF file against what it was made from.")
@click.argument("model")
@click.option(
    "--against",
    "source",
    required=True,
    metavar="CHECKPOINT",
    help="The folder of the checkpoint, or a GGUF file.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="[default: all cores]")
def verify(model: str, source: str, threads: int | None) -> None:  # fmt: skip
    """Check that MODEL, a GGUF file, holds what CHECKPOINT has.

    Tensors must have the same names and shapes, metadata and tokenizer must be the same, and the values of
    each tensor as close as its type allows. All weights of both are read once. The exit code is 2 where
    something is wrong.
    """
    from glmq_convert.verification import verify as run

    from ..gguf import open_gguf

    status = Status()
    try:
        with open_gguf(model_path(model, status)) as file, _source(source, file, status) as against:
            found = run(
                file, against, threads=threads,
                progress=lambda done, total: status.show("comparing weights", done / total if total else 1),
            )  # fmt: skip
    finally:
        status.clear()
    for text in [*against.remarks, *found.notes]:
        note(f"note: {text}")
    for line in _lines(found.tensors):
        click.echo(line)
    for problem in found.problems[:SHOWN]:
        click.echo(problem)
    if len(found.problems) > SHOWN:
        click.echo(f"and {len(found.problems) - SHOWN} more")
    if found.problems:
        raise GlmqError(
            f"{model} does not hold what {source} has ({counted(len(found.problems), 'problem')});"
            " make or download it again"
        )
    click.echo(
        f"{model} holds what {source} has: {counted(len(found.tensors), 'tensor')}, metadata, tokenizer"
    )


@contextmanager
def _source(name: str, file: GGUFFile, status: Status) -> Iterator[ModelSource]:
    """What the file is compared with: a folder is a checkpoint, anything else a GGUF model."""
    from glmq_convert.checkpoint_source import checkpoint_source
    from glmq_convert.conversion import gguf_model_source

    from ..gguf import open_gguf

    if Path(name).is_dir():
        yield checkpoint_source(Path(name), mtp=any(".nextn." in tensor for tensor in file.tensors))
        return
    with open_gguf(model_path(name, status)) as other:
        yield gguf_model_source(other)


def _lines(tensors: Sequence[TensorCheck]) -> Iterator[str]:
    """A line for each tensor type: the largest error, what it may be, and where it is."""
    for name in dict.fromkeys(check.type for check in tensors):
        of_type = [check for check in tensors if check.type == name]
        worst = max(of_type, key=lambda check: check.error.relative)
        yield (
            f"{name:<8} {counted(len(of_type), 'tensor'):>14}   error at most {worst.error.relative:.2e}"
            f" of {worst.bounds.tensor:.2e} allowed ({worst.name})"
        )
