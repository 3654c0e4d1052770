"""`glmq quantize`: a GGUF file of another one."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import click
from glmq_kernels.files.file_writing import check_target

from .conversion_options import ConversionOptions, ProgressBar, conversion_options, show_sizes, tell_of_file
from .model_argument import complete_model
from .named_files import file_option, telling_of_force
from .options import Status, model_path


@click.command(short_help="Quantize a GGUF file to another one.")
@click.argument("model", metavar="IN.gguf", shell_complete=complete_model)
@click.argument("out", callback=file_option, metavar="OUT.gguf")
@conversion_options(None)
@click.option("--keep-split", is_flag=True, help="As many files as IN has, with the same tensors in each.")
def quantize(model: str, out: Path, keep_split: bool, options: ConversionOptions) -> None:
    """Make OUT of the GGUF model IN, with other types of tensors.

    IN is best BF16 or F16; of a split model it is any part, of one on the Hub its name. OUT is a file or a
    folder. It appears when it is complete. A file that is there already is not replaced without --force.
    """
    from glmq_convert.conversion import gguf_model_source, planned_types
    from glmq_convert.conversion import quantize as run

    from ..gguf import open_gguf

    remarks: list[str] = []
    began = time.perf_counter()
    path = model_path(model, Status())
    with open_gguf(path) as file, telling_of_force():
        if options.calibration.texts and not options.dry_run and not out.is_dir():  # told before a long run
            check_target(out, force=options.force or options.split is not None)
        options = options.calibrated(nullcontext(path))
        bar = ProgressBar()
        options = options.telling(bar)
        with bar as progress:
            if options.dry_run:
                source = gguf_model_source(file)
                show_sizes(planned_types(source, options.types, options.imatrix, options.size))
                return
            path = run(file, out, keep_split=keep_split, progress=progress, **options.arguments(remarks))
    tell_of_file(path, time.perf_counter() - began, remarks)
