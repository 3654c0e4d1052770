"""`glmq serve`: a server on the local machine that programs for OpenAI's and Anthropic's APIs can talk to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from glmq_kernels.errors import GlmqError

from ..optional_packages import require_packages
from ..sampling.recommendations import recommended
from .model_argument import model_argument
from .named_files import file_option
from .option_groups import GroupedCommand, option_group
from .options import ModelOptions, Status, model_options_of_answers, open_model
from .sampling_options import sampling_of, sampling_options
from .terminal import note

if TYPE_CHECKING:
    from ..model import Model
    from ..server.settings import ServerSettings

DEFAULT_PORT = 8080


@click.command(short_help="Serve a model to other programs.", cls=GroupedCommand)
@model_argument()
@option_group(
    "Address",
    click.option(
        "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen."
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=DEFAULT_PORT,
        show_default=True,
        metavar="N",
        help="0 takes one that is free.",
    ),
    click.option(
        "--unix",
        callback=file_option,
        metavar="FILE",
        help="Listen at this socket file instead, which only its owner can use.",
    ),
    click.option(
        "--name",
        "--alias",
        "model_name",
        metavar="NAME",
        help="What the model is called. [default: its file's name]",
    ),
)
@option_group(
    "Who may ask",
    click.option(
        "--api-key",
        envvar="GLMQ_API_KEY",
        show_envvar=True,
        metavar="KEY",
        help="What requests must show. Other users of this machine can see the command line: better use"
        " the variable or a file.",
    ),
    click.option("--api-key-file", callback=file_option, metavar="FILE", help="A file that holds the key."),
    click.option("--no-auth", is_flag=True, help="Serve other machines without a key."),
    click.option(
        "--allow-origin",
        "allow_origins",
        multiple=True,
        metavar="ORIGIN",
        help="Let web pages of this origin ask, such as https://example.com, or * for all; may be repeated.",
    ),
    click.option(
        "--allow-host",
        "allow_hosts",
        multiple=True,
        metavar="NAME",
        help="Answer to this name of the machine too; may be repeated.",
    ),
)
@option_group(
    "Answers",
    click.option(
        "--parallel",
        "n_parallel",
        type=click.IntRange(1, 256),
        default=8,
        show_default=True,
        metavar="N",
        help="Answers at once.",
    ),
    click.option(
        "--queue",
        "n_queue",
        type=click.IntRange(0, 100_000),
        default=64,
        show_default=True,
        metavar="N",
        help="Answers that may wait; requests beyond these are told to come back later.",
    ),
    click.option(
        "--max-tokens",
        type=click.IntRange(1),
        metavar="N",
        help="Tokens of an answer at most, whatever a request asks for.",
    ),
    click.option(
        "--grace",
        "grace_seconds",
        type=click.FloatRange(0, 3600),
        default=5.0,
        show_default=True,
        metavar="SECONDS",
        help="How long answers may go on after Ctrl-C or SIGTERM.",
    ),
)
@option_group("Model and memory", model_options_of_answers)
@option_group(
    "Log, on standard error",
    click.option("--quiet", is_flag=True, help="Tell of errors alone, not of requests."),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Lines of text, or of JSON.",
    ),
    click.option("--log-prompts", is_flag=True, help="Also tell what is asked and answered."),
)
@option_group("Sampling of requests that say nothing of it", sampling_options)
def serve(
    model: str | None,
    api_key: str | None,
    api_key_file: Path | None,
    no_auth: bool,
    quiet: bool,
    log_format: Any,
    options: ModelOptions,
    host: str,
    port: int,
    unix: Path | None,
    model_name: str | None,
    allow_origins: tuple[str, ...],
    allow_hosts: tuple[str, ...],
    n_parallel: int,
    n_queue: int,
    max_tokens: int | None,
    grace_seconds: float,
    log_prompts: bool,
    **sampling: Any,
) -> None:
    """Serve MODEL, a GGUF file or a demo model's name, by default the demo, until Ctrl-C.

    The server speaks OpenAI's API (chat completions, completions, responses), Anthropic's messages,
    llama-server's paths and Ollama's.
    """
    require_packages("starlette", "uvicorn", "prometheus_client")
    from ..server.settings import ServerSettings

    settings = ServerSettings(
        host=host,
        port=port,
        unix=unix,
        model_name=model_name,
        api_key=_key(api_key, api_key_file),
        allow_origins=_origins(allow_origins),
        allow_hosts=allow_hosts,
        n_parallel=n_parallel,
        n_queue=n_queue,
        max_tokens=max_tokens,
        grace_seconds=grace_seconds,
        log_prompts=log_prompts,
    )
    _check_access(settings, no_auth)
    from ..server.listening import base_url, listening_socket
    from ..server.log import log_to_stderr
    from ..server.running import serve_model

    log_to_stderr(log_format, quiet=quiet, log_prompts=log_prompts)
    with listening_socket(settings) as listening, open_model(model, options, Status()) as loaded:
        settings = replace(settings, sampling=sampling_of(recommended(loaded.file.metadata), **sampling))
        note(_start_line(loaded, settings, base_url(listening)))
        serve_model(loaded, settings, listening)


def _key(given: str | None, file: Path | None) -> str | None:
    if file is not None:
        if given is not None:
            raise GlmqError("the API key is given twice; leave --api-key or --api-key-file out")
        try:
            given = file.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise GlmqError(f"cannot read the API key from {file}: {reason}") from None
    if given is None:
        return None
    key = given.strip()
    if not key:
        raise GlmqError("the API key is empty; give one, or leave it out")
    if not (key.isascii() and key.isprintable()):
        raise GlmqError("the API key must be one line of ASCII characters, which every client can send")
    return key


def _origins(given: tuple[str, ...]) -> tuple[str, ...]:
    origins = tuple(origin.removesuffix("/").lower() for origin in given)
    for origin in origins:
        scheme, _, place = origin.partition("://")
        if origin not in ("*", "null") and not (scheme and place and "/" not in place):
            raise GlmqError(f"{origin!r} is no origin; one looks like https://example.com (--allow-origin)")
    return origins


def _check_access(settings: ServerSettings, no_auth: bool) -> None:
    """Refuse to serve other machines without a key, unless that is wanted."""
    from ..server.guard import is_local

    if settings.api_key is None and not no_auth and settings.unix is None and not is_local(settings.host):
        raise GlmqError(
            f"{settings.host or 'every address'} can be reached from other machines;"
            " give an --api-key, or --no-auth to serve anybody"
        )


def _start_line(model: Model, settings: ServerSettings, url: str) -> str:
    name = settings.model_name or model.path.name
    return (
        f"Serving {name} at {url}: a chat page, OpenAI's API at /v1, {settings.n_parallel} answers at once,"
        f" {model.n_ctx} tokens of context, {model.n_threads} threads. Ctrl-C ends it."
    )
