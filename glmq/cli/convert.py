"""`glmq convert`: a Hugging Face checkpoint to a GGUF file."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .conversion_options import ConversionOptions, ProgressBar, conversion_options, show_sizes, tell_of_file
from .named_files import file_option, telling_of_force


@click.command(short_help="Quantize a checkpoint to a GGUF file.")
@click.argument("checkpoint_dir", type=click.Path(path_type=Path))
@click.argument("out", callback=file_option, required=False, metavar="[OUT.gguf]")
@conversion_options("q8_0")
@click.option("--no-mtp", is_flag=True, help="Leave the multi-token-prediction layer out.")
def convert(checkpoint_dir: Path, out: Path | None, no_mtp: bool, options: ConversionOptions) -> None:
    """Convert the Glm4Moe or Glm4MoeLite checkpoint in CHECKPOINT_DIR.

    The folder holds config.json, *.safetensors and tokenizer.json.

    OUT is a file or a folder, by default the current one. It appears when it is complete. A file that is
    there already is not replaced without --force.
    """
    from glmq_convert.conversion import checkpoint_types
    from glmq_convert.conversion import convert as run

    if options.dry_run:
        show_sizes(checkpoint_types(checkpoint_dir, options.types, not no_mtp, options.imatrix, options.size))
        return
    remarks: list[str] = []
    began = time.perf_counter()
    with telling_of_force(), ProgressBar() as progress:
        path = run(checkpoint_dir, out, mtp=not no_mtp, progress=progress, **options.arguments(remarks))
    tell_of_file(path, time.perf_counter() - began, remarks)
