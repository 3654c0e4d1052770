"""`glmq quantize`: a GGUF file of another one."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .conversion_options import ConversionOptions, ProgressBar, conversion_options, show_sizes, tell_of_file
from .named_files import file_option, telling_of_force


@click.command(short_help="Quantize a GGUF file to another one.")
@click.argument("model", callback=file_option, metavar="IN.gguf")
@click.argument("out", callback=file_option, metavar="OUT.gguf")
@conversion_options(None)
@click.option("--keep-split", is_flag=True, help="As many files as IN has, with the same tensors in each.")
def quantize(model: Path, out: Path, keep_split: bool, options: ConversionOptions) -> None:
    """Make OUT of the GGUF model IN, with other types of tensors.

    IN is best BF16 or F16; of a split model it is any part. OUT is a file or a folder. It appears when it is
    complete. A file that is there already is not replaced without --force.
    """
    from glmq_convert.conversion import gguf_model_source, planned_types
    from glmq_convert.conversion import quantize as run

    from ..gguf import open_gguf

    remarks: list[str] = []
    began = time.perf_counter()
    with open_gguf(model) as file:
        if options.dry_run:
            show_sizes(planned_types(gguf_model_source(file), options.types, options.imatrix, options.size))
            return
        with telling_of_force(), ProgressBar() as progress:
            path = run(file, out, keep_split=keep_split, progress=progress, **options.arguments(remarks))
    tell_of_file(path, time.perf_counter() - began, remarks)
