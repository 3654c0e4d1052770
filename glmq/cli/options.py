"""What the commands that run a model have in common: its options, loading it, and what is told meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from glmq_kernels.files.file_writing import Target, check_target
from glmq_kernels.ops.attention.cache_layout import CACHE_TYPES, type_of_both
from glmq_kernels.threads.tape import ACTIVATION_TYPES

from .live_region import terminal_size
from .named_files import file_option, named_path, overwriting
from .terminal import counted, note

if TYPE_CHECKING:
    from ..model import Model

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT_MODEL = "demo"


@dataclass(frozen=True)
class ModelOptions:
    """How a model is to be loaded, and what is to be told and kept about its run.

    force: whether files that are something else are overwritten. draft: what guesses tokens. cache_disk:
    bytes of the disk for pages of the KV cache, in cache_folder.
    """

    ctx: int | None
    threads: int | None
    cache_type: str
    activations: str
    ram: int | None
    load: str
    deterministic: bool
    numa: bool
    record_routing: Target | None
    force: bool
    draft: str = "off"
    cache_disk: int | None = None
    cache_folder: Path | None = None


def ram_option(command: Command) -> Command:
    """How much memory a model may take."""
    return click.option(
        "--ram", callback=_memory_size, metavar="SIZE",
        help="Memory for everything, such as 12G; experts for which there is no room stay on disk until they"
        " are wanted. [default: what is free]",
    )(command)  # fmt: skip


def load_option(command: Command) -> Command:
    """Where a model's weights are."""
    return click.option(
        "--load", type=click.Choice(["mmap", "read", "transcode"]), default="mmap", show_default=True,
        help="Map the file and take weights from it as they are used, read all of it into memory first, or"
        " read weights of up to 3 bits and turn them into a form that is faster and takes more memory.",
    )(command)  # fmt: skip


def numa_option(command: Command) -> Command:
    """Whether weights and threads are shared out among nodes of memory."""
    return click.option(
        "--numa", is_flag=True,
        help="On machines with several nodes of memory: read all weights first, each matrix shared out among"
        " the nodes by rows, and keep threads near their rows.",
    )(command)  # fmt: skip


def activations_option(command: Command) -> Command:
    """What tokens are in products with quantized weights."""
    return click.option(
        "--activations", type=click.Choice(["auto", *ACTIVATION_TYPES]), default="auto", show_default=True,
        help="What tokens are rounded to before they meet quantized weights: int8, or (f32) not at all, which"
        " is slower. auto: f32 for models of 10 to 500 million parameters.",
    )(command)  # fmt: skip


def draft_option(command: Command) -> Command:
    """What guesses tokens of answers."""
    return click.option(
        "--draft", default="auto", show_default=True, metavar="HOW",
        help="What guesses tokens that are then checked together, which changes but the speed: lookup (in"
        " the prompt and earlier answers), mtp (the file's layer of multi-token prediction), another"
        " file with such a layer or with a small model of the same tokenizer, auto for what there is, or off."
        " It is done as long as it pays.",
    )(command)  # fmt: skip


def _folder(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    return None if value is None else named_path(value)


def cache_disk_options(command: Command) -> Command:
    """How much of the disk, and where, keys and values of earlier conversations may take."""
    limit = click.option(
        "--cache-disk", callback=_memory_size, metavar="SIZE",
        help="Disk space, such as 20GB, for keys and values of conversations that nobody has used for long:"
        " they come back from there, and are not read again. What conversations hold is written to the disk"
        " then. [default: none]",
    )  # fmt: skip
    folder = click.option(
        "--cache-folder", callback=_folder, metavar="FOLDER",
        help="Where that is; the file has no name there. [default: glmq's cache folder]",
    )  # fmt: skip
    return limit(folder(command))


def cache_type_options(command: Command) -> Command:
    """How keys and values are kept: the command gets the type of both as `cache_type`."""

    @wraps(command)
    def joined(
        *args: Any, cache_type: str, cache_type_k: str | None, cache_type_v: str | None, **others: Any
    ) -> Any:
        both = type_of_both(cache_type_k or cache_type, cache_type_v or cache_type)
        return command(*args, cache_type=both, **others)

    known = click.Choice([name.lower() for name in CACHE_TYPES])
    options = (
        click.option("--cache-type", type=known, default="f16", show_default=True,
                     help="How keys and values are kept; q8_0 takes half the memory, q4_0 a quarter,"
                     " f32 twice."),
        click.option("--cache-type-k", type=known, help="How keys are kept. [default: as --cache-type]"),
        click.option("--cache-type-v", type=known, help="How values are kept. [default: as --cache-type]"),
    )  # fmt: skip
    found: Any = joined
    for option in reversed(options):
        found = option(found)
    return cast("Command", found)


def _memory_size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from ..memory_plan import parse_size

    return None if value is None else parse_size(value)


CONTEXT_HELP = "Tokens of context. [default: the model's, at most 16384]"


def model_options(command: Command) -> Command:
    """Options that `open_model` takes: the command gets them as `options`."""
    return _model_options(command, CONTEXT_HELP)


def model_options_of_answers(command: Command) -> Command:
    """The same for a command that has a model write answers."""
    return _model_options(command, CONTEXT_HELP, draft_option, cache_disk_options)


def model_options_of_chunks(command: Command) -> Command:
    """The same for a command that reads a text in chunks, of as many tokens as its context."""
    return _model_options(command, "Tokens of a chunk. [default: 512]")


def _model_options(command: Command, context_help: str, *more: Callable[[Command], Command]) -> Command:
    @wraps(command)
    def collected(
        *args: Any,
        ctx: int | None,
        threads: int | None,
        cache_type: str,
        activations: str,
        ram: int | None,
        load: str,
        deterministic: bool,
        numa: bool,
        record_routing: Path | None,
        force: bool,
        draft: str = "off",
        cache_disk: int | None = None,
        cache_folder: Path | None = None,
        **others: Any,
    ) -> Any:
        trace = None if record_routing is None else _trace_target(record_routing, force)
        chosen = ModelOptions(
            ctx, threads, cache_type, activations, ram, load, deterministic, numa, trace, force, draft,
            cache_disk, cache_folder,
        )  # fmt: skip
        return command(*args, options=chosen, **others)

    options: tuple[Callable[[Any], Any], ...] = (
        *more,
        click.option("--ctx", type=int, metavar="N", help=context_help),
        ram_option,
        load_option,
        cache_type_options,
        activations_option,
        click.option("--threads", type=int, metavar="N", help="[default: all cores]"),
        click.option("--deterministic", is_flag=True,
                     help="Let a greedy answer depend on its text alone, not on what is kept of earlier ones;"
                     " prompts are read more slowly."),
        numa_option,
        click.option("--record-routing", callback=file_option, metavar="FILE",
                     help="Keep which experts each token used, as a NumPy file (tokens, layers, experts)."),
        click.option("--force", is_flag=True,
                     help="Overwrite files that are something else, with --record-routing too."),
    )  # fmt: skip
    for option in reversed(options):
        collected = option(collected)
    return cast("Command", collected)


def _trace_target(path: Path, force: bool) -> Target:
    """Where the record of routing goes. Raises GlmqError when it cannot go there."""
    from ..experts.trace import TRACE

    return overwriting(lambda forced: check_target(path, TRACE, force=forced), force)


class Status:
    """A line on standard error that shows what is going on and goes away when it is over."""

    def __init__(self) -> None:
        self._width = 0
        self._told: set[str] = set()

    def show(self, text: str, fraction: float) -> None:
        """Show a text with how far it is; where standard error is no terminal, each new text once."""
        if sys.stderr.isatty():
            columns = terminal_size(sys.stderr)[0]
            line = f"{text} … {fraction:.0%}"[: columns - 1]
            click.echo("\r" + line.ljust(self._width), nl=False, err=True)
            self._width = len(line)
        elif (kind := text.split(":")[0]) not in self._told:
            self._told.add(kind)
            click.echo(f"{kind} …", err=True)

    def reading(self, n_done: int, n_wanted: int) -> None:
        """Show how much of a long prompt has been read."""
        if n_done < n_wanted and sys.stderr.isatty():
            self.show(f"reading the prompt: {n_done} of {n_wanted} tokens", n_done / n_wanted)

    def summarising(self, n_done: int, n_longest: int) -> None:
        """Show how long a summary has become."""
        self.show(f"summarising: {counted(n_done, 'token')}", n_done / n_longest)

    def clear(self) -> None:
        """Remove the line."""
        if self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width = 0


def model_path(name: str | None, status: Status) -> Path:
    """The file of a model: a path, the name of a demo model or of one on the Hub, by default `demo`."""
    from ..model_file import model_file
    from .hub_download import download_named

    return model_file(name or DEFAULT_MODEL, status.show, download_named)


@contextmanager
def open_model(name: str | None, options: ModelOptions, status: Status) -> Iterator[Model]:
    """A model, loaded and in the end closed.

    Says what is to be known of its file, and how it uses memory when not all of it is there.
    """
    from ..load_model import load

    try:
        loaded = load(
            model_path(name, status),
            n_ctx=options.ctx,
            n_threads=options.threads,
            cache_type=options.cache_type,
            activations=options.activations,
            ram=options.ram,
            cache_disk=options.cache_disk,
            cache_folder=options.cache_folder,
            load=options.load,
            deterministic=options.deterministic,
            numa=options.numa,
            draft=options.draft,
            progress=status.show,
        )
    finally:
        status.clear()
    with loaded:
        for remark in loaded.remarks:
            note(remark)
        if loaded.experts is not None:
            note(f"{loaded.experts.placement.line()} (--ram)")
        if options.record_routing is None:
            yield loaded
            return
        trace = loaded.record_routing()
        try:
            yield loaded
        finally:
            trace.save(options.record_routing.path, force=options.record_routing.force)
