"""What `glmq convert` and `glmq quantize` have in common: options, table of sizes, progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from glmq_kernels.errors import GlmqError

from .named_files import file_option, files_option

if TYPE_CHECKING:
    from glmq_convert.gguf_writer import Progress
    from glmq_convert.importance import Importance
    from glmq_convert.mixes import TypeChoice
    from glmq_convert.plan import PlannedTensor
    from glmq_convert.splits import SplitSizes
    from glmq_convert.target_size import TargetSize
    from rich.progress import TaskID

    from ..hub.pull import Transfer
    from .calibration import Calibration

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class ConversionOptions:
    """How a file is to be made, and of which types."""

    types: TypeChoice
    size: TargetSize | None
    calibration: Calibration
    imatrix: Path | Importance | None
    metadata: dict[str, str]
    split: SplitSizes | None
    allow_nan: bool
    dry_run: bool
    resume: bool
    force: bool
    threads: int | None

    def calibrated(self, source: AbstractContextManager[Path]) -> ConversionOptions:
        """With what a run of the model tells, where that is asked for. source: gives a file to run."""
        if self.size is None or not self.calibration.texts:
            return self
        from .calibration import calibrated

        imatrix = self.imatrix if isinstance(self.imatrix, Path) else None
        size, importance = calibrated(self.size, imatrix, self.calibration, source)
        return replace(self, size=size, imatrix=importance)

    def telling(self, bar: ProgressBar) -> ConversionOptions:
        """With a bar that shows how far errors are measured, where there is a size."""
        return replace(self, size=replace(self.size, progress=bar.show_errors)) if self.size else self

    def arguments(self, remarks: list[str]) -> dict[str, Any]:
        """What `conversion.convert` and `conversion.quantize` take of them."""
        return {
            "type": self.types, "threads": self.threads, "remark": remarks.append, "force": self.force,
            "size": self.size, "importance": self.imatrix, "metadata": self.metadata, "split": self.split,
            "allow_nan": self.allow_nan, "resume": self.resume,
        }  # fmt: skip


def conversion_options(default_type: str | None) -> Callable[[Command], Command]:
    """Options of a command, which gets them as `options`. default_type: of the mix, where it has one."""

    def decorated(command: Command) -> Command:
        @wraps(command)
        def collected(
            *args: Any,
            type_name: str | None,
            target_size: int | None,
            target_bpw: float | None,
            calibrate: Sequence[Path],
            calibrate_with: str | None,
            tensor_type: Sequence[tuple[str, str]],
            output_tensor_type: str | None,
            token_embedding_type: str | None,
            pure: bool,
            classic: bool,
            imatrix: Path | None,
            metadata: Sequence[tuple[str, str]],
            split_max_size: int | None,
            split_max_tensors: int | None,
            allow_nan: bool,
            dry_run: bool,
            resume: bool,
            force: bool,
            threads: int | None,
            **others: Any,
        ) -> Any:
            from glmq_convert.mixes import TypeChoice
            from glmq_convert.splits import SplitSizes

            from .calibration import Calibration

            size = _target_size(type_name, target_size, target_bpw)
            calibration = Calibration(tuple(calibrate), calibrate_with, threads)
            calibration.check(has_size=size is not None)
            types = TypeChoice(
                type_name or default_type or _any_type(size),
                tuple(tensor_type),
                output_tensor_type,
                token_embedding_type,
                pure,
                classic,
            )
            split = SplitSizes(split_max_size, split_max_tensors)
            chosen = ConversionOptions(
                types, size, calibration, imatrix, dict(metadata), split if split != SplitSizes() else None,
                allow_nan, dry_run, resume, force, threads,
            )  # fmt: skip
            return command(*args, options=chosen, **others)

        for option in reversed(_options(default_type)):
            collected = option(collected)
        return cast("Command", collected)

    return decorated


def _options(default_type: str | None) -> tuple[Callable[[Any], Any], ...]:
    default = f" [default: {default_type}]" if default_type else ""
    return (
        click.option("--type", "type_name", metavar="NAME",
                     help=f"A mix of tensor types, such as Q8_0, Q4_K_M, IQ4_XS or MOE_Q4_K.{default}"),
        click.option("--target-size", callback=_size, metavar="SIZE",
                     help="In place of a mix: the types that lose least in a file of at most this size, such"
                     " as 40G, by the errors of each tensor's types."),
        click.option("--target-bpw", type=float, metavar="BITS",
                     help="The same with bits per weight, such as 4.5."),
        click.option("--calibrate", callback=files_option, multiple=True, metavar="FILE",
                     help="For a size: a text, or conversations (.json, .jsonl), which the model reads first,"
                     " so that types follow from what errors change in its predictions; and, without"
                     " --imatrix, from the importance of columns. May be given several times."),
        click.option("--calibrate-with", metavar="MODEL",
                     help="A GGUF file of the same model that reads these texts, such as a smaller one."
                     " [default: IN.gguf, or a Q8_0 file that is made of CHECKPOINT and removed]"),
        click.option("--tensor-type", callback=_pairs, multiple=True, metavar="REGEX=TYPE",
                     help="A type for the tensors in whose names the expression is found; of several"
                     " expressions the first counts."),
        click.option("--output-tensor-type", metavar="TYPE", help="The type of output.weight."),
        click.option("--token-embedding-type", metavar="TYPE", help="The type of token_embd.weight."),
        click.option("--pure", is_flag=True, help="The same type for all matrices."),
        click.option("--classic", is_flag=True,
                     help="Exactly llama-quantize's types, also for the tensors of multi-token prediction and"
                     " latent attention, which otherwise are Q8_0."),
        click.option("--imatrix", callback=file_option, metavar="FILE",
                     help="The importance matrix, which the types of 1 to 3 bits need and others gain by."),
        click.option("--metadata", callback=_pairs, multiple=True, metavar="KEY=VALUE",
                     help="Set a key of the file; VALUE may begin with int:, float:, bool: or str:."),
        click.option("--split-max-size", callback=_size, metavar="SIZE",
                     help="Write files of at most this size, such as 50G."),
        click.option("--split-max-tensors", type=click.IntRange(min=1), metavar="N",
                     help="Write files of at most so many tensors."),
        click.option("--allow-nan", is_flag=True, help="Write 0 for weights that are NaN or infinite."),
        click.option("--dry-run", is_flag=True, help="Show types and sizes, and write nothing."),
        click.option("--resume", is_flag=True,
                     help="Go on with what an earlier run left, and leave what this one does not finish."),
        click.option("--force", is_flag=True, help="Replace the file OUT if there is one."),
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="[default: all cores]"),
    )  # fmt: skip


def _target_size(type_name: str | None, n_bytes: int | None, bits: float | None) -> TargetSize | None:
    """The size that is asked for in place of a mix, if any. Raises GlmqError where both are."""
    from glmq_convert.target_size import TargetSize

    if n_bytes is None and bits is None:
        return None
    if type_name is not None:
        raise GlmqError("leave the type out where the size of the file decides on it", setting="type")
    return TargetSize(n_bytes, bits)


def _any_type(size: TargetSize | None) -> str:
    """What stands for the mix where a size decides. Raises GlmqError where nothing does."""
    if size is None:
        raise GlmqError("say which types the file is to have", setting="type")
    return "Q8_0"


def _pairs(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> list[tuple[str, str]]:
    """NAME=VALUE, parted at the last = of a --tensor-type, whose expression may hold one, else the first."""
    pairs = []
    for value in values:
        last = parameter.name == "tensor_type"
        name, equals, rest = value.rpartition("=") if last else value.partition("=")
        if not (name and equals):
            raise GlmqError(f"{value!r} is not {parameter.metavar}", setting=parameter.name)
        pairs.append((name, rest))
    return pairs


def _size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from ..memory_plan import parse_size

    return None if value is None else parse_size(value)


def show_sizes(tensors: Sequence[PlannedTensor]) -> None:
    """Print what a file will hold, by kinds of tensors."""
    from glmq_convert.mixes import size_table

    rows = size_table(tensors)
    width = max(len(row.kind) for row in rows)
    for row in rows:
        types = ", ".join(
            name if len(row.types) == 1 else f"{n} {name}" for name, n in row.types.items()
        )  # fmt: skip
        click.echo(
            f"{row.kind:{width}}  {row.n_bytes / 1e9:8.3f} GB  {row.bits_per_weight:5.2f} bits  {types}"
        )


class ProgressBar:
    """A progress bar on standard error with speed and time left; nothing where that is no terminal."""

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True,
        )  # fmt: skip
        self._progress.start()
        self._task = self._progress.add_task("", total=None)
        self._download: TaskID | None = None
        self._told = ""
        return self._show

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def _show(self, n_done: int, n_bytes: int) -> None:
        self._progress.update(self._task, completed=n_done, total=n_bytes, description="")

    def show_errors(self, n_done: int, n_tensors: int) -> None:
        """Show of how many tensors the errors of types are measured."""
        self._progress.update(self._task, description=f"measuring errors: tensor {n_done} of {n_tensors}")

    def show_download(self, transfer: Transfer) -> None:
        """Show how far the download of what comes next is; without a terminal a line when it begins."""
        if self._progress.disable:
            if transfer.doing != self._told:
                click.echo(f"downloading {transfer.doing}", err=True)
        elif transfer.doing != self._told and self._download is not None:
            self._progress.remove_task(self._download)
            self._download = None
        self._told = transfer.doing
        if self._download is None:
            self._download = self._progress.add_task(transfer.doing)
        self._progress.update(self._download, completed=transfer.n_done, total=transfer.n_bytes)


def tell_of_file(path: Path, seconds: float, remarks: Sequence[str]) -> None:
    """Print what was made, and on standard error what the user may want to know of it."""
    from ..gguf import open_gguf

    with open_gguf(path) as file:
        n_bytes, others = sum(file.sizes), len(file.paths) - 1
    for text in remarks:
        click.echo(f"note: {text}", err=True)
    speed = n_bytes / 1e6 / seconds
    more = f" and {others} more" * (others > 0)
    click.echo(f"{path}{more}: {n_bytes / 1e9:.2f} GB in {seconds:.1f} s ({speed:.0f} MB/s written)")
