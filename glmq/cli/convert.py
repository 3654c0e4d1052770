"""`glmq convert`: a Hugging Face checkpoint to a GGUF file."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import check_target

from .conversion_options import ConversionOptions, ProgressBar, conversion_options, show_sizes, tell_of_file
from .hub_download import download_checkpoint
from .named_files import file_option, telling_of_force

if TYPE_CHECKING:
    from glmq_convert.mtp import MtpChoice

    from ..hub.remote_checkpoint import RemoteCheckpoint


@click.command(short_help="Quantize a checkpoint to a GGUF file.")
@click.argument("checkpoint")
@click.argument("out", callback=file_option, required=False, metavar="[OUT.gguf]")
@conversion_options("q8_0")
@click.option("--remote", is_flag=True, help="Download one file of the checkpoint at a time, and remove it.")
@click.option("--no-mtp", is_flag=True, help="Leave the multi-token-prediction layer out.")
@click.option("--mtp-only", is_flag=True, help="Write the multi-token-prediction layer alone.")
def convert(
    checkpoint: str,
    out: Path | None,
    remote: bool,
    no_mtp: bool,
    mtp_only: bool,
    options: ConversionOptions,
) -> None:
    """Convert CHECKPOINT, of the classes Glm4Moe, Glm4MoeLite or Llama.

    It is a folder that holds config.json, *.safetensors and tokenizer.json, or the name of a repository of
    the Hugging Face Hub, which is downloaded.

    OUT is a file or a folder, by default the current one. It appears when it is complete. A file that is
    there already is not replaced without --force.
    """
    from glmq_convert.conversion import checkpoint_types
    from glmq_convert.conversion import convert as run

    if no_mtp and mtp_only:
        raise GlmqError("--no-mtp and --mtp-only exclude each other; leave one of them out")
    mtp: MtpChoice = "alone" if mtp_only else not no_mtp
    remarks: list[str] = []
    began = time.perf_counter()
    with telling_of_force(), ExitStack() as stack:
        bar = ProgressBar()
        folder, store = _opened(checkpoint, out, remote, options, bar)
        options = _calibrated(folder, out, store is not None, options).telling(bar)
        progress = stack.enter_context(bar)
        if store is not None:
            stack.enter_context(store)
        if options.dry_run:
            show_sizes(checkpoint_types(folder, options.types, mtp, options.imatrix, options.size, store))
            return
        path = run(folder, out, mtp=mtp, progress=progress, store=store, **options.arguments(remarks))
    tell_of_file(path, time.perf_counter() - began, remarks)


def _calibrated(
    folder: Path, out: Path | None, is_remote: bool, options: ConversionOptions
) -> ConversionOptions:
    """The options with what a run of the model tells, where that is asked for."""
    calibration = options.calibration
    if not calibration.texts:
        return options
    if is_remote and not calibration.model:
        raise GlmqError(
            "a checkpoint that is not here cannot read a text; name a GGUF file of the model that does"
            " (--calibrate-with), or download it (leave --remote out)"
        )
    from .calibration import runnable_file

    if out is not None and not out.is_dir() and not options.dry_run:  # told before a long run
        check_target(out, force=options.force or options.split is not None)
    beside = out if out is not None and out.is_dir() else (out or Path("file")).parent
    return options.calibrated(runnable_file(folder, beside))


def _opened(
    checkpoint: str,
    out: Path | None,
    remote: bool,
    options: ConversionOptions,
    bar: ProgressBar,
) -> tuple[Path, RemoteCheckpoint | None]:
    """The folder of a checkpoint, downloaded if need be, and where its weights are, if not there."""
    from ..hub.names import hub_name

    name = None if Path(checkpoint).exists() else hub_name(checkpoint)
    if name is None:
        if remote:
            raise GlmqError(f"{checkpoint} is not a repository of the Hub; give owner/name", setting="remote")
        return Path(checkpoint), None
    from ..hub.cache import cached_checkpoint
    from ..hub.remote_checkpoint import RemoteCheckpoint

    if cached := cached_checkpoint(name):
        return cached, None
    if out is not None and not out.is_dir() and not options.dry_run:  # told before a long download
        check_target(out, force=options.force or options.split is not None)
    if remote or options.dry_run:
        store = RemoteCheckpoint(name, bar.show_download)
        return store.folder, store
    return download_checkpoint(name), None
