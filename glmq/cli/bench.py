"""`glmq bench`: how fast a model runs here, and how fast it could."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .model_argument import model_argument
from .options import (
    Status,
    activations_option,
    cache_type_options,
    load_option,
    model_path,
    numa_option,
    ram_option,
)

if TYPE_CHECKING:
    from ..benchmark import Result


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Such as "0,4096" to (0, 4096)."""
    if value is None:
        return None
    parts = value.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is not a number, or several with commas between them")
    return tuple(int(part) for part in parts)


@click.command(short_help="Measure a model's speed.")
@model_argument()
@click.option(
    "-p",
    "--n-prompt",
    callback=_numbers,
    default="512",
    metavar="N,..",
    show_default=True,
    help="Tokens read at once; 0 leaves this out.",
)
@click.option(
    "-n",
    "--n-gen",
    callback=_numbers,
    default="128",
    metavar="N,..",
    show_default=True,
    help="Tokens decoded one by one; 0 leaves this out.",
)
@click.option(
    "-d",
    "--n-depth",
    callback=_numbers,
    default="0",
    metavar="N,..",
    show_default=True,
    help="Tokens that are in the context before.",
)
@click.option(
    "--sequences",
    "n_seq",
    callback=_numbers,
    default="1",
    metavar="N,..",
    show_default=True,
    help="Sequences that are read or decoded at the same time. With it, -p or -n alone measures that alone.",
)
@click.option("-t", "--threads", callback=_numbers, metavar="N,..", help="[default: all cores]")
@click.option("-r", "--repetitions", type=click.IntRange(min=1), default=5, metavar="N", show_default=True)
@cache_type_options
@activations_option
@ram_option
@load_option
@numa_option
@click.option(
    "--draft",
    default="off",
    show_default=True,
    metavar="HOW",
    help="Also measure decoding with guessed tokens that are checked together: lookup, mtp, a file, or auto.",
)
@click.option(
    "--n-draft",
    type=click.IntRange(1, 7),
    default=7,
    metavar="N",
    show_default=True,
    help="Guesses that are checked at once, at most.",
)
@click.option(
    "--acceptance",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Let this share of guesses come true, such as 0.85, whatever they are; each takes its time.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON list of rows, with llama-bench's names.")
def bench(
    model: str | None,
    n_prompt: tuple[int, ...],
    n_gen: tuple[int, ...],
    n_depth: tuple[int, ...],
    n_seq: tuple[int, ...],
    threads: tuple[int, ...] | None,
    repetitions: int,
    cache_type: str,
    activations: str,
    ram: int | None,
    load: str,
    numa: bool,
    draft: str,
    n_draft: int,
    acceptance: float | None,
    as_json: bool,
) -> None:
    """Measure the speed of MODEL, a GGUF file or a demo model's name, by default `demo`.

    Beside tokens per second the table shows how fast weights are read and multiplied, each with its share
    of what this machine does when it does nothing else, measured at the start. Several numbers with
    commas between them measure all combinations. Of several sequences tokens per second are those of all
    together.
    """
    from ..benchmark import Plan, run
    from ..experts.statistics import ExpertStatistics

    if _is_given("n_seq") and _is_given("n_prompt") != _is_given("n_gen"):
        n_prompt, n_gen = (n_prompt, (0,)) if _is_given("n_prompt") else ((0,), n_gen)
    plan = Plan(
        n_prompt=n_prompt,
        n_gen=n_gen,
        n_depth=n_depth,
        n_seq=n_seq,
        n_threads=threads or (None,),
        repetitions=repetitions,
        cache_type=cache_type.upper(),
        activations=activations,
        ram=ram,
        load=load,
        numa=numa,
        draft=draft,
        n_draft=n_draft,
        acceptance=acceptance,
    )
    status = Status()
    results: list[Result] = []

    def tell(result: Result) -> None:
        status.clear()
        results.append(result)
        if not as_json:
            if len(results) == 1:
                click.echo(_line(HEADERS))
            click.echo(_line(_cells(result)))
            if result.draft:
                came_true = f"{result.n_accepted} of {result.n_drafted} guessed tokens came true"
                click.echo(f"  {came_true}; {result.draft_gain:.2f}x as fast as the same without")
            if result.experts:
                click.echo("  " + ExpertStatistics(**result.experts).line())  # type: ignore[arg-type]

    try:
        run(model_path(model, status), plan, tell, status.show)
    finally:
        status.clear()
    if as_json:
        import json

        json.dump([result.as_dict() for result in results], sys.stdout, indent=2)
        click.echo()
    elif results and results[-1].peak_memory:
        click.echo(f"peak memory {results[-1].peak_memory / 1e9:.2f} GB, the mapped file included")


def _is_given(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is not click.core.ParameterSource.DEFAULT


HEADERS = ("test", "threads", "tokens/s", "weights GB/s", "of reading", "multiply-adds G/s", "of peak")
WIDTHS = (20, 7, 17, 12, 10, 17, 7)


def _cells(result: Result) -> tuple[str, ...]:
    return (
        result.test,
        str(result.n_threads),
        f"{result.avg_ts:.2f} ± {result.stddev_ts:.2f}",
        f"{result.weight_bytes / 1e9:.1f}",
        f"{result.read_share:.0%}",
        f"{result.multiply_adds / 1e9:.1f}",
        f"{result.dot_share:.0%}",
    )


def _line(cells: Sequence[str]) -> str:
    padded = [
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    return "  ".join(padded).rstrip()
