"""`glmq plan`: whether and how a model would run here, before it is downloaded or loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from .error_line import OPTIONS
from .options import (
    DEFAULT_MODEL,
    Status,
    activations_option,
    cache_type_options,
    load_option,
    ram_option,
)

if TYPE_CHECKING:
    from ..forecast.forecast import Forecast
    from ..forecast.next_steps import NextStep
    from ..forecast.timing import Range

DOES_NOT_RUN = 3
"""Exit code for a model that does not run here."""

INDENT = "  "


@click.command(short_help="Tell whether and how a model would run here.")
@click.argument("model", required=False)
@ram_option
@load_option
@click.option("--ctx", type=int, metavar="N", help="Tokens of context. [default: the model's, at most 16384]")
@cache_type_options
@activations_option
@click.option("--threads", type=int, metavar="N", help="[default: all cores]")
@click.option("--prompt", "n_prompt", type=click.IntRange(min=1), default=512, show_default=True, metavar="N",
              help="Tokens of the prompt whose speed is told.")  # fmt: skip
@click.option(
    "--measure", is_flag=True, help="Measure this machine again; figures are kept from earlier times."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def plan(
    model: str | None,
    ram: int | None,
    load: str,
    ctx: int | None,
    cache_type: str,
    activations: str,
    threads: int | None,
    n_prompt: int,
    measure: bool,
    as_json: bool,
) -> None:
    """Tell whether and how MODEL would run on this machine, without loading or downloading it.

    MODEL is a GGUF file, a demo model's name, by default `demo`, or owner/name:TAG on the Hub, of which
    headers alone are read. Ends with exit code 3 where the model does not run here.
    """
    from ..forecast.forecast import forecast

    status = Status()
    try:
        found = forecast(
            model or DEFAULT_MODEL, n_ctx=ctx, ram=ram, cache_type=cache_type, activations=activations,
            load=load, n_threads=threads, n_prompt=n_prompt, measure=measure, progress=status.show,
        )  # fmt: skip
    finally:
        status.clear()
    if as_json:
        import json

        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        for line in _report(found, n_prompt):
            click.echo(line)
    if not found.runs:
        click.get_current_context().exit(DOES_NOT_RUN)


def _report(found: Forecast, n_prompt: int) -> Iterator[str]:
    """All of it for people to read."""
    here = "" if found.is_here else ", not downloaded"
    parameters = f"{found.n_parameters / 1e9:.2f} billion parameters"
    yield f"{found.model}: {parameters}, {_size(found.file_bytes)}{here}"
    yield _verdict(found)
    yield ""
    yield f"Memory, of {_size(found.memory.budget)}:"
    yield from _memory_lines(found)
    if found.time is not None:
        yield ""
        yield f"Tokens per second, with {found.n_threads} threads:"
        yield from _speed_lines(found, n_prompt)
    elif found.why_no_time:
        yield ""
        yield f"Speeds are not known: {found.why_no_time}"
    if found.assumptions:
        yield ""
        yield "This takes for granted that"
        yield from (f"{INDENT}- {assumption}" for assumption in found.assumptions)
    if found.next_steps:
        yield ""
        yield "What would help:"
        yield from (f"{INDENT}- {_step(step)}" for step in found.next_steps)


def _verdict(found: Forecast) -> str:
    memory = found.memory
    if memory.refusal is not None:
        return f"It does not run here: {memory.refusal}."
    if memory.placement is None:
        return "It runs here, all of it in memory."
    return (
        f"It runs here with experts on disk: {memory.n_kept} of {memory.n_experts} stay in memory, the others"
        " are read when they are wanted."
    )


def _memory_lines(found: Forecast) -> Iterator[str]:
    memory = found.memory
    layer = "with the layer of multi-token prediction" if memory.program.prediction else ""
    rows = [("dense weights", memory.dense, layer)]
    if memory.n_experts:
        kept = "" if memory.placement is None else f"{memory.n_kept} of {memory.n_experts}"
        rows.append(("experts", memory.experts_kept, kept))
    batch = "" if memory.plan is None else f"batches of {memory.plan.batch} tokens"
    beside = f"beside these {_size(memory.budget)}" if memory.total > memory.budget else ""
    context = f"a context of {found.n_ctx} tokens in {found.cache_type.lower()}"
    rows += [
        ("KV cache", memory.needs.kv_cache, context),
        ("buffers", memory.work, batch),
        ("the program", memory.process, beside),
        ("in sum", memory.total, ""),
    ]
    for name, n_bytes, remark in rows:
        yield f"{INDENT}{name:<16}{_size(n_bytes):>10}  {remark}".rstrip()


def _speed_lines(found: Forecast, n_prompt: int) -> Iterator[str]:
    time = found.time
    assert time is not None, "it is known"
    n_prompt = min(n_prompt, found.n_ctx)
    rows = [
        (f"prompt of {n_prompt}", time.prompt),
        (f"the same at the end of {found.n_ctx}", time.late_prompt),
        ("answer", time.answer),
        (f"answer at the end of {found.n_ctx}", time.late_answer),
    ]
    width = max(len(name) for name, _ in rows) + 2
    yield from (f"{INDENT}{name:<{width}}{_range_text(speed)}" for name, speed in rows)
    if found.memory.placement is not None:
        disk = found.disk_bytes
        yield (
            f"{INDENT}{'read from disk':<{width}}{_size(disk.likely)} for each token of an answer"
            f" ({_size(disk.low)} to {_size(disk.high)})"
        )


def _size(n_bytes: float) -> str:
    """An amount, exact enough to be added up."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _range_text(speed: Range) -> str:
    return f"{_number(speed.likely):>6}  ({_number(speed.low)} to {_number(speed.high)})"


def _number(speed: float) -> str:
    return f"{speed:.0f}" if speed >= 20 else f"{speed:.1f}" if speed >= 1 else f"{speed:.2f}"


def _step(step: NextStep) -> str:
    if step.setting is None:
        return step.text
    option = OPTIONS.get(step.setting, f"--{step.setting.replace('_', '-')}")
    return f"{step.text} ({option} {step.value})"
