"""`glmq batch`: a file of requests in the form of OpenAI's batches, answered into a file of results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from glmq_kernels.errors import GlmqError

from ..optional_packages import require_packages
from .model_argument import model_argument
from .named_files import named_file, overwriting
from .option_groups import GroupedCommand, option_group
from .options import ModelOptions, Status, model_options_of_answers, open_model
from .terminal import counted, note

if TYPE_CHECKING:
    from ..batch_file.progress import Progress
    from ..batch_file.requests import BatchFile
    from ..batch_file.results import Found, Results

SOME_FAILED = 1
"""Exit code where some requests have errors instead of answers."""


def _file_or_dash(context: click.Context, parameter: click.Parameter, value: str) -> Path | None:
    return None if value == "-" else named_file(value)


@click.command(short_help="Answer a file of requests.", cls=GroupedCommand)
@click.argument("requests", metavar="IN.jsonl", callback=_file_or_dash)
@click.argument("results", metavar="OUT.jsonl", callback=_file_or_dash)
@model_argument()
@option_group(
    "Answers",
    click.option(
        "--parallel",
        type=click.IntRange(1, 256),
        default=16,
        show_default=True,
        metavar="N",
        help="Answers at once.",
    ),
)
@option_group("Model and memory", model_options_of_answers)
@option_group("Output", click.option("--quiet", is_flag=True, help="Show no progress and no summary."))
def batch(
    requests: Path | None,
    results: Path | None,
    model: str | None,
    parallel: int,
    quiet: bool,
    options: ModelOptions,
) -> None:
    """Answer the requests of IN.jsonl with MODEL, by default the demo, and write results to OUT.jsonl.

    Both are in the form of OpenAI's batches; - is standard input or output. Where OUT.jsonl holds results of
    an earlier run that was ended, the rest is answered.
    """
    require_packages("starlette")
    from ..batch_file.requests import open_batch_file
    from ..batch_file.results import PrintedResults, ResultFile

    if requests is not None and results is not None and _is_same(requests, results):
        raise GlmqError(f"{results} holds the requests; name another file for the results")
    with open_batch_file(requests) as file:
        if results is None:
            n_failed = _answer(file, PrintedResults(), (), model, parallel, quiet, options)
        else:
            path, ids = results, file.ids
            to = overwriting(lambda forced: ResultFile(path, ids, force=forced), options.force)
            with closing(to):
                n_failed = _answer(file, to, to.found, model, parallel, quiet, options)
    if n_failed:
        click.get_current_context().exit(SOME_FAILED)


def _answer(
    file: BatchFile,
    results: Results,
    found: Sequence[Found],
    model: str | None,
    parallel: int,
    quiet: bool,
    options: ModelOptions,
) -> int:
    """Answer what is not answered yet; gives how many requests failed."""
    from ..batch_file.run import answer_file

    status, last = Status(), None

    def tell(progress: Progress) -> None:
        nonlocal last
        last = progress
        if not quiet and sys.stderr.isatty():
            status.show(_progress_line(progress), progress.n_done / progress.n_all)

    n_all = len(file.ids)
    if found and not quiet:
        note(f"Found {len(found)} of {counted(n_all, 'result')}, of an earlier run.")
    if len(found) == n_all:
        return sum(not each.is_answer for each in found)
    with open_model(model, options, status) as loaded:
        try:
            progress = answer_file(loaded, file, results, found, parallel, tell)
        except KeyboardInterrupt:
            status.clear()
            if last is not None:
                note(
                    f"Stopped with {last.n_done} of {counted(last.n_all, 'result')}.{_how_to_go_on(results)}"
                )
            raise
        finally:
            status.clear()
    if not quiet:
        note(_summary(progress))
    return progress.n_failed


def _progress_line(progress: Progress) -> str:
    parts = [f"{progress.n_done} of {counted(progress.n_all, 'request')}"]
    if progress.n_answer and progress.seconds:
        parts.append(f"{progress.n_answer / progress.seconds:.1f} tokens/s")
    if progress.seconds_left is not None:
        parts.append(f"{_duration(progress.seconds_left)} left")
    return ", ".join(parts)


def _summary(progress: Progress) -> str:
    """What came of it, and how fast this run was."""
    n_answered = progress.n_all - progress.n_failed
    parts = [f"{counted(progress.n_all, 'request')}: {n_answered:,} answered, {progress.n_failed:,} failed"]
    if progress.n_answer:
        speed = f"{progress.n_answer / progress.seconds:.1f} tokens/s"
        parts.append(
            f"prompts {progress.n_prompt:,} tokens ({progress.n_cached:,} of them cached), answers"
            f" {progress.n_answer:,} tokens in {_duration(progress.seconds)} ({speed})"
        )
    return "; ".join(parts) + "."


def _duration(seconds: float) -> str:
    """Such as "42 s" or "1:02:03"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    clock = f"{minutes:02}:{int(seconds) % 60:02}"
    return f"{hours}:{clock}" if hours else clock.removeprefix("0")


def _how_to_go_on(results: Results) -> str:
    from ..batch_file.results import ResultFile

    return " The same command goes on from there." if isinstance(results, ResultFile) else ""


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
