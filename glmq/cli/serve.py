"""`glmq serve`: a server on the local machine that programs for OpenAI's and Anthropic's APIs can talk to."""

from __future__ import annotations

import ipaddress
import logging
from importlib.util import find_spec
from typing import Any

import click
from glmq_kernels.errors import GlmqError

from .option_groups import GroupedCommand, option_group
from .options import ModelOptions, Status, model_options, open_model
from .terminal import note

DEFAULT_PORT = 8080


@click.command(short_help="Serve a model to other programs.", cls=GroupedCommand)
@click.argument("model", required=False)
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
    click.option("--name", metavar="NAME", help="What the model is called. [default: its file's name]"),
)
@option_group(
    "Who may ask",
    click.option(
        "--api-key", envvar="GLMQ_API_KEY", show_envvar=True, metavar="KEY", help="What requests must show."
    ),
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
        type=click.IntRange(1, 256),
        default=8,
        show_default=True,
        metavar="N",
        help="Answers at once.",
    ),
    click.option(
        "--queue",
        type=click.IntRange(0, 100_000),
        default=64,
        show_default=True,
        metavar="N",
        help="Answers that may wait; requests beyond these are told to come back later.",
    ),
    click.option(
        "--grace",
        type=click.FloatRange(0, 3600),
        default=5.0,
        show_default=True,
        metavar="SECONDS",
        help="How long answers may go on after Ctrl-C or SIGTERM.",
    ),
)
@option_group("Model and memory", model_options)
@option_group(
    "Output",
    click.option("--quiet", is_flag=True, help="Do not tell of requests."),
    click.option("--log-prompts", is_flag=True, help="Also tell what is asked."),
)
def serve(
    model: str | None,
    host: str,
    port: int,
    name: str | None,
    api_key: str | None,
    no_auth: bool,
    allow_origins: tuple[str, ...],
    allow_hosts: tuple[str, ...],
    parallel: int,
    queue: int,
    grace: float,
    quiet: bool,
    log_prompts: bool,
    options: ModelOptions,
) -> None:
    """Serve MODEL, a GGUF file or a demo model's name, by default the demo, until Ctrl-C.

    The server speaks OpenAI's API (chat completions, completions, responses), Anthropic's messages,
    llama-server's paths and Ollama's.
    """
    _require_extra()
    _check_access(host, api_key, no_auth)
    from ..server.running import listening_socket, serve_model
    from ..server.settings import ServerSettings

    settings = ServerSettings(
        host=host,
        port=port,
        model_name=name,
        api_key=api_key,
        allow_origins=allow_origins,
        allow_hosts=allow_hosts,
        n_parallel=parallel,
        n_queue=queue,
        grace_seconds=grace,
        log_prompts=log_prompts,
    )
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("glmq.server").setLevel(logging.WARNING if quiet else logging.INFO)
    with listening_socket(settings) as listening, open_model(model, options, Status()) as loaded:
        note(f"Serving {loaded.path.name} at {_url(host, listening.getsockname())}, OpenAI's API at /v1.")
        serve_model(loaded, settings, listening)


def _require_extra() -> None:
    if any(find_spec(package) is None for package in ("starlette", "uvicorn")):
        raise GlmqError("the server needs two more packages; install them with: pip install 'glmq[serve]'")


def _check_access(host: str, api_key: str | None, no_auth: bool) -> None:
    """Refuse to serve other machines without a key, unless that is wanted."""
    if api_key is not None and not api_key.strip():
        raise GlmqError("the API key is empty; give one, or leave --api-key out")
    if api_key is None and not no_auth and not _is_local(host):
        raise GlmqError(
            f"{host} can be reached from other machines; give an --api-key, or --no-auth to serve anybody"
        )


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(host: str, address: tuple[Any, ...]) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{address[1]}"
