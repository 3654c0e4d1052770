"""`glmq generate`: a plain completion on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from glmq_kernels.errors import GlmqError

from ..sampling.recommendations import recommended
from ..sampling.settings import Sampling
from ..session import trained_context
from .constraint_options import constraint_of, constraint_options
from .model_argument import model_argument
from .option_groups import GroupedCommand, option_group
from .options import ModelOptions, Status, model_options_of_answers, open_model
from .sampling_options import sampling_of, sampling_options
from .stats import stats_line
from .terminal import note, write
from .text_input import read_text

if TYPE_CHECKING:
    from ..generation import Generation
    from ..model import Model


@click.command(short_help="Continue a text.", cls=GroupedCommand)
@model_argument(required=True)
@click.argument("dash", required=False, metavar="[-]")
@option_group(
    "Text",
    click.option("-p", "--prompt", metavar="TEXT", help="The text to continue."),
    click.option("-f", "--file", metavar="FILE", help="Continue the content of a file; - is standard input."),
    click.option("-n", "--max-tokens", type=click.IntRange(min=0), metavar="N", help="End after N tokens."),
    click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; may be repeated."),
)
@option_group("Text held to a form", constraint_options)
@option_group("Sampling", sampling_options)
@option_group("Model and memory", model_options_of_answers)
@option_group(
    "Output",
    click.option("--json", "as_json", is_flag=True, help="One JSON object with token ids, text and timings."),
    click.option(
        "--stats", is_flag=True, help="Tell in the end how much was read and how fast, on standard error."
    ),
)
def generate(
    model: str,
    dash: str | None,
    prompt: str | None,
    file: str | None,
    max_tokens: int | None,
    stop: tuple[str, ...],
    as_json: bool,
    stats: bool,
    json_schema: str | None,
    grammar: str | None,
    regex: str | None,
    options: ModelOptions,
    **sampling: Any,
) -> None:
    """Continue a text with MODEL, a GGUF file or a demo model's name, without a chat template.

    The text is given by one of -p TEXT, -f FILE and - (standard input). Special tokens in it are parsed.
    """
    constraint = constraint_of(json_schema, grammar, regex)
    text = prompt_text(prompt, file, dash)
    status = Status()
    sampling_of(Sampling(), **sampling)  # bad values are told before a model is loaded
    with open_model(model, options, status) as loaded:
        settings = sampling_of(recommended(loaded.file.metadata), **sampling)
        generation = loaded.generate(
            text,
            sampling=settings,
            max_tokens=max_tokens,
            stop=stop,
            constraint=constraint,
            progress=status.reading,
        )
        if as_json:
            generation.run()
            status.clear()
            click.echo(_report(loaded, generation))
        else:
            for piece in generation:
                status.clear()
                write(piece)
            click.echo()
        if stats:
            note(stats_line(loaded, generation.timings))
        if generation.finish_reason == "context":
            may_be_larger = loaded.n_ctx < trained_context(loaded.file, loaded.n_ctx)
            remedy = "a larger --ctx makes room" if may_be_larger else "the model was trained for no more"
            note(f"The context of {loaded.n_ctx} tokens is full; {remedy}.")


def prompt_text(prompt: str | None, file: str | None, dash: str | None) -> str:
    """The text that exactly one of the three ways gives. Raises GlmqError otherwise."""
    if dash not in (None, "-"):
        raise GlmqError(f"{dash!r} is one argument too many; give the text with -p")
    if sum(each is not None for each in (prompt, file, dash)) != 1:
        raise GlmqError("give the text in one way: -p TEXT, -f FILE, or - for standard input")
    if prompt is not None:
        return prompt
    return read_text("-" if dash else str(file))


def _report(model: Model, generation: Generation) -> str:
    import json
    from dataclasses import asdict

    return json.dumps(
        {
            "model": str(model.path),
            "prompt_tokens": generation.prompt,
            "tokens": generation.tokens,
            "text": generation.text,
            "finish_reason": generation.finish_reason,
            "timings": {
                **asdict(generation.timings),
                "prompt_per_second": generation.timings.prompt_per_second,
                "decode_per_second": generation.timings.decode_per_second,
            },
            "experts": asdict(model.experts.statistics) if model.experts else None,
        }
    )
