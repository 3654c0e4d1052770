"""`glmq imatrix`: which columns of a model's matrices matter, as texts tell; importance matrices merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from glmq_kernels.errors import GlmqError

from .model_argument import model_argument
from .named_files import file_option, files_option, telling_of_force
from .options import Status, activations_option, model_path, ram_option
from .terminal import counted, note

if TYPE_CHECKING:
    from glmq_convert.importance import Importance

OUT = "imatrix.gguf"


@click.command(short_help="Find out which weights matter, for quantizing.")
@model_argument()
@click.option(
    "-f",
    "--file",
    "texts",
    multiple=True,
    callback=files_option,
    metavar="FILE",
    help="A text that MODEL reads, or conversations (.json, .jsonl). May be given several times.",
)
@click.option(
    "-o",
    "--out",
    callback=file_option,
    metavar="FILE",
    help=f"Where the importance matrix goes. [default with MODEL: {OUT}]",
)
@click.option(
    "--in-file",
    "earlier",
    multiple=True,
    callback=files_option,
    metavar="FILE",
    help="An importance matrix to merge with. May be given several times.",
)
@click.option(
    "--chunk-size",
    type=click.IntRange(min=2),
    default=512,
    show_default=True,
    metavar="N",
    help="Tokens that are read by themselves.",
)
@click.option(
    "--chunks",
    "n_chunks",
    type=click.IntRange(min=1),
    metavar="N",
    help="Chunks to read at most. [default: all]",
)
@click.option("--process-output", is_flag=True, help="Of the output matrix (output.weight) too.")
@ram_option
@activations_option
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="[default: all cores]")
@click.option("--force", is_flag=True, help="Begin anew, and replace the file if there is one.")
def imatrix(
    model: str | None,
    texts: list[Path],
    out: Path | None,
    earlier: list[Path],
    chunk_size: int,
    n_chunks: int | None,
    process_output: bool,
    ram: int | None,
    activations: str,
    threads: int | None,
    force: bool,
) -> None:  # fmt: skip
    """Let MODEL read texts, and write how much each column of its matrices met, by expert.

    The importance matrix has llama.cpp's form. It is saved every ten chunks: after Ctrl-C, or whatever ended
    it, the same command goes on from there. In the end each layer's line tells how many of its experts the
    texts have reached.

    Without MODEL the importance matrices named with --in-file are merged into the one named with --out, or
    only looked at. Files of the older .dat form can be read too.
    """
    if model is None:
        if texts:
            raise GlmqError("there is a text, but no model to read it; name the model first")
        _merge(earlier, out, force)
        return
    from ..importance import ImportanceOptions, make_importance

    options = ImportanceOptions(
        chunk_size=chunk_size, n_chunks=n_chunks, process_output=process_output, earlier=earlier,
        n_threads=threads, activations=activations, ram=ram,
    )  # fmt: skip
    status = Status()
    path = out or Path(OUT)
    try:
        with telling_of_force():
            made = make_importance(
                model_path(model, status), texts, path, options, force=force, progress=status.show,
                remark=lambda text: note(f"note: {text}"),
            )  # fmt: skip
    except KeyboardInterrupt:
        status.clear()
        note(f"interrupted; the same command goes on with what is in {path}")
        raise
    finally:
        status.clear()
    _show(made, str(path))


def _merge(earlier: Sequence[Path], out: Path | None, force: bool) -> None:
    """Merge importance matrices, or look at one."""
    from glmq_convert.importance import importance_target, merge_importance, read_importance, write_importance

    if not earlier:
        raise GlmqError("name a model and a text (-f FILE), or importance matrices to merge (--in-file FILE)")
    with telling_of_force():
        target = importance_target(out, force=force) if out else None
    merged = merge_importance([read_importance(path) for path in earlier])
    if target:
        write_importance(merged, target)
    _show(merged, str(out) if out else " + ".join(map(str, earlier)))


def _show(importance: Importance, name: str) -> None:
    """What it is made of, and how well each layer's experts were seen."""
    from glmq_convert.importance import coverage

    layers = coverage(importance)
    for layer in layers:
        seen = f"{layer.n_seen} of {layer.n_experts} experts seen"
        fewest = f"fewest tokens {layer.least:,}, mean {layer.mean:,.0f}" if layer.n_seen else "no tokens"
        click.echo(f"layer {layer.layer:>3}  {seen} ({layer.share:.1%}); {fewest}")
    unseen = sum(layer.n_experts - layer.n_seen for layer in layers)
    if unseen:
        note(
            f"note: {counted(unseen, 'expert')} of {sum(layer.n_experts for layer in layers):,} met no token;"
            " when quantizing they get the mean of their layer's others (more, and more varied, text helps)"
        )
    texts = ", ".join(importance.datasets) or "unknown texts"
    click.echo(
        f"{name}: {counted(importance.n_entries, 'tensor')},"
        f" {counted(importance.n_chunks, 'chunk')} of {importance.chunk_size} tokens, from {texts}"
    )
