"""`glmq compile`: kernels compiled ahead, into a folder that a program carries."""

from __future__ import annotations

import os
import time

import click
from glmq_kernels.errors import GlmqError

from .model_argument import complete_model
from .named_files import named_path
from .options import Status, model_path


@click.command(short_help="Compile kernels ahead, for programs that carry them.")
@click.argument("models", nargs=-1, metavar="[MODEL]...", shell_complete=complete_model)
@click.option("--all", "every", is_flag=True, help="Also the kernels of every tensor type.")
@click.option(
    "--isa", default="auto", show_default=True, metavar="LIST",
    help="Instructions, separated by commas: auto (the best that this machine can run), amx, avx512bf16,"
    " avx512, avxvnni, avx2, generic, or all. This machine need not have them.",
)  # fmt: skip
@click.option("-o", "--output", "folder", required=True, metavar="FOLDER", help="Made if it is not there.")
def compile(models: tuple[str, ...], every: bool, isa: str, folder: str) -> None:
    """Put the kernels that each MODEL needs, however it is loaded, into FOLDER, beside those that it has.

    A program that carries the folder loads models with glmq.load(..., kernels=FOLDER), or with
    GLMQ_KERNELS set to it, and needs neither Numba nor llvmlite. Each of the instructions is a shared
    library of its own; the best that the processor can run is used.
    """
    from ..kernels_ahead import compile_ahead

    if not models and not every:
        raise GlmqError("which kernels: name a MODEL, such as demo, or give --all")
    os.environ.pop("GLMQ_KERNELS", None)  # it may name the folder that is to be made anew
    began = time.perf_counter()
    status = Status()
    try:
        paths = [model_path(name, status) for name in models]
        names = [name.strip() for name in isa.lower().split(",")]
        made = compile_ahead(paths, every, names, named_path(folder), status.show)
    finally:
        status.clear()
    for name, entry in made.libraries.items():
        n = len(entry.kernels)
        click.echo(f"{name}: {n} kernel{'s' if n > 1 else ''}, {entry.n_bytes / 1e6:.1f} MB")
    n_bytes = sum({entry.file: entry.n_bytes for entry in made.libraries.values()}.values())
    click.echo(f"{made.path}: {n_bytes / 1e6:.1f} MB in {time.perf_counter() - began:.0f} s")
