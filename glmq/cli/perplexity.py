"""`glmq perplexity`: how well a model predicts a text, alone or beside a base model."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import Target, check_is_not_read

from .model_argument import model_argument
from .named_files import file_option, overwriting
from .option_groups import GroupedCommand, option_group
from .options import ModelOptions, Status, model_options_of_chunks, model_path, open_model
from .terminal import note
from .text_input import read_text

if TYPE_CHECKING:
    from ..model import Model
    from ..quality.chunks import Chunks
    from ..quality.divergence import Divergence
    from ..quality.logits_file import LogitsFile
    from ..quality.perplexity import Perplexity
    from ..quality.statistics import Estimate, Spread

CHUNKS_AT_ONCE = 4
"""For so many chunks the KV cache has memory, so that the largest batch can be filled."""

FEWEST = 100
"""Predictions below which nothing can be said of error bars."""


@click.command(short_help="Measure how well a model predicts a text.", cls=GroupedCommand)
@model_argument(required=True)
@option_group(
    "Text",
    click.option(
        "-f",
        "--file",
        metavar="FILE",
        help="The text, or conversations (.json, .jsonl); - is standard input.",
    ),
    click.option(
        "--chunks", type=click.IntRange(min=1), metavar="N", help="Read the first N chunks. [default: all]"
    ),
)
@option_group(
    "Comparison with a base model",
    click.option(
        "--save-kl-base", callback=file_option, metavar="FILE",
        help="Keep all predictions in FILE, in llama.cpp's format (MODEL is the base model).",
    ),
    click.option(
        "--kl-base", callback=file_option, metavar="FILE",
        help="Compare with the predictions in FILE, which holds the text too; llama.cpp's are as good.",
    ),
)  # fmt: skip
@option_group("Model and memory", model_options_of_chunks)
@option_group(
    "Output", click.option("--json", "as_json", is_flag=True, help="One JSON object with all figures.")
)
def perplexity(
    model: str,
    file: str | None,
    chunks: int | None,
    save_kl_base: Path | None,
    kl_base: Path | None,
    as_json: bool,
    options: ModelOptions,
) -> None:
    """Measure the perplexity of MODEL, a GGUF file or a demo model's name, on a text.

    The text is cut into chunks of 512 tokens (--ctx). Each is read alone, and predictions of its second half
    count, as with llama.cpp's llama-perplexity, whose values these can be compared with. Lower is better.

    With --save-kl-base the predictions are kept, and with --kl-base another model's are compared with them:
    the mean Kullback-Leibler divergence says what a quantization loses, with less text than perplexity.
    """
    from ..quality.chunks import DEFAULT_CONTEXT
    from ..quality.logits_file import LogitsFile, check_logits_target

    base = LogitsFile(kl_base) if kl_base else None
    _check_text_is_given(file, base, save_kl_base)
    target = None
    if save_kl_base:
        path = save_kl_base
        target = overwriting(lambda forced: check_logits_target(path, force=forced), options.force)
    n_ctx = options.ctx or DEFAULT_CONTEXT
    if base is not None:
        if options.ctx not in (None, base.n_ctx):
            raise GlmqError(f"{base.path} has chunks of {base.n_ctx} tokens; leave --ctx out")
        n_ctx = base.n_ctx
    content = None if file is None else read_text(file)  # before the model is loaded, which takes time
    status = Status()
    with open_model(model, _with_room(options, model, n_ctx, status), status) as loaded:
        if base is not None:
            if file is not None and content is not None:
                base.require_text(_chunks(loaded, file, content, n_ctx, None).tokens.ravel())
            _compare(loaded, base, chunks, status, as_json)
        else:
            if target is not None:
                check_is_not_read(target, [*loaded.file.paths, Path(str(file))])
            found = _chunks(loaded, str(file), str(content), n_ctx, chunks)
            _measure(loaded, found, target, status, as_json)


def _check_text_is_given(file: str | None, base: LogitsFile | None, save_kl_base: Path | None) -> None:
    if base is not None and save_kl_base is not None:
        raise GlmqError(
            "--kl-base and --save-kl-base exclude each other: one reads a file, the other makes it"
        )
    if file is None and base is None:
        raise GlmqError("give the text with -f FILE; only --kl-base brings one of its own")


def _with_room(options: ModelOptions, model: str, n_ctx: int, status: Status) -> ModelOptions:
    """The options with a context that several chunks fit into, as far as the model has one so large."""
    from ..gguf import open_gguf
    from ..session import trained_context

    with open_gguf(model_path(model, status)) as opened:
        trained = trained_context(opened, n_ctx)
    return replace(options, ctx=max(n_ctx, min(CHUNKS_AT_ONCE * n_ctx, trained)))


def _measure(model: Model, chunks: Chunks, target: Target | None, status: Status, as_json: bool) -> None:
    from ..quality.logits_file import logits_file_bytes, writing_logits
    from ..quality.perplexity import perplexity as perplexity_of

    def tell(n_chunks: int, found: Perplexity) -> None:
        done = f"chunk {found.n_chunks} of {n_chunks}, perplexity {found.value:.4f}"
        status.show(f"perplexity: {done}", found.n_chunks / n_chunks)

    with writing_logits(target, chunks, model.n_vocab) if target else nullcontext() as writer:
        found = perplexity_of(model, chunks, tell, writer)
    status.clear()
    if as_json:
        click.echo(json.dumps({"model": str(model.path), **asdict(found)}))
        return
    click.echo(f"perplexity {found.value:.4f} ± {found.error:.4f}")
    click.echo(_counted(found))
    if target:
        size = logits_file_bytes(chunks, model.n_vocab) / 1e9
        note(f"The predictions are in {target.path} ({size:.2f} GB).")
    _tell_of_few(found.n_counted)


def _chunks(model: Model, file: str, content: str, n_ctx: int, max_chunks: int | None) -> Chunks:
    """Of a file's text; of a file of conversations as the model's chat template writes them."""
    from ..importance.texts import text_of
    from ..quality.chunks import chunks_of_text

    text = text_of(Path(file), content, model)
    return chunks_of_text(model.tokenizer, text.content, n_ctx, max_chunks, special=text.special)


def _compare(model: Model, base: LogitsFile, chunks: int | None, status: Status, as_json: bool) -> None:
    from ..quality.divergence import divergence

    def tell(n_chunks: int, found: Divergence) -> None:
        done = f"chunk {found.n_chunks} of {n_chunks}, mean KL {found.kl.value:.5f}"
        status.show(f"divergence: {done}", found.n_chunks / n_chunks)

    found = divergence(model, base, chunks, tell)
    status.clear()
    if as_json:
        click.echo(json.dumps({"model": str(model.path), "base": str(base.path), **asdict(found)}))
        return
    for line in _report(found):
        click.echo(line)
    click.echo(_counted(found))
    _tell_of_few(found.n_counted)


def _report(found: Divergence) -> list[str]:
    return [
        _line("perplexity", found.perplexity),
        _line("perplexity of the base", found.base_perplexity),
        _line("ratio", found.ratio),
        _line("ln of the ratio", found.log_ratio),
        f"{'correlation of ln p':24}{found.correlation:10.2%}",
        "",
        _line("mean KL divergence", found.kl),
        *_spread(found.kl_spread),
        "",
        _line("same likeliest token", found.same_top, percent=True),
        _line("mean Δp", found.change, percent=True),
        _line("root mean square Δp", found.rms_change, percent=True),
        *_spread(found.change_spread, percent=True),
        "",
    ]


def _line(name: str, estimate: Estimate, *, percent: bool = False) -> str:
    return f"{name:24}{_number(estimate.value, percent)} ± {_number(estimate.error, percent).lstrip()}"


def _spread(spread: Spread, *, percent: bool = False) -> list[str]:
    named = {"most": spread.most, **{f"{at:g} %": each for at, each in spread.percentiles.items()}}
    named = {**named, "median": spread.median, "least": spread.least}
    in_order = sorted(named.items(), key=lambda item: -item[1])
    return [f"  {name:22}{_number(value, percent)}" for name, value in in_order]


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:9.3f}%" if percent else f"{value:10.6f}"


def _counted(found: Perplexity | Divergence) -> str:
    return f"{found.n_counted:,} predictions in {found.n_chunks} chunks of {found.n_ctx} tokens"


def _tell_of_few(n_counted: int) -> None:
    if n_counted < FEWEST:
        note(f"{n_counted} predictions are too few for error bars; give a longer text.")
