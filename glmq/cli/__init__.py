"""The command line. Each command is a module that is imported when the command is used."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click
from glmq_kernels.errors import GlmqError

from .. import __version__
from ..optional_packages import missing_package
from .error_line import error_line

COMMANDS = (
    "chat",
    "generate",
    "convert",
    "quantize",
    "imatrix",
    "verify",
    "inspect",
    "tokenize",
    "compile",
    "bench",
    "plan",
    "perplexity",
    "eval",
    "serve",
    "batch",
    "demo",
    "pull",
    "models",
    "rm",
)
USER_ERROR, INTERNAL_ERROR, INTERRUPTED = 2, 1, 130
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_ANSWER = 3
"""Exit code of a chat without a terminal, or with one question, in which a message got no answer."""


class Commands(click.Group):
    """The group of all commands. Every one of them takes --debug."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a module's name."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f".{name}", __name__), name)
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option())
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and tell errors in one line unless --debug asks for more."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            _leave_with_usage_error(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            _leave_quietly()
        except Exception as error:
            if ctx.meta.get("glmq.debug"):
                raise
            if isinstance(error, ModuleNotFoundError):
                error = missing_package(error) or error
            if _is_lack_of_memory(error):
                error = GlmqError(
                    "not enough memory; close other programs or choose a smaller context", setting="n_ctx"
                )
            if isinstance(error, OSError) and error.strerror and isinstance(error.filename, str):
                error = GlmqError(f"{error.filename} cannot be used: {error.strerror}")
            if isinstance(error, GlmqError):
                command = self.get_command(ctx, ctx.invoked_subcommand or "")
                click.echo(f"glmq: error: {error_line(error, command)}", err=True)
                ctx.exit(USER_ERROR)
            if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
                click.echo(f"glmq: error: what is printed cannot be written: {error.strerror}", err=True)
                ctx.exit(USER_ERROR)
            kind = type(error).__name__
            click.echo(f"glmq: internal error: {kind}: {error} (--debug shows where)", err=True)
            ctx.exit(INTERNAL_ERROR)

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> click.Context:
        """The context of a command line, whose errors are told in one line."""
        is_empty = not args
        try:
            return super().make_context(info_name, args, *more, **extra)
        except click.UsageError as error:
            if is_empty:  # the help text is shown
                raise
            _leave_with_usage_error(error)


def _leave_with_usage_error(error: click.UsageError) -> NoReturn:
    """End with what is wrong with the command line, and where to find what it may be."""
    told = error.format_message().rstrip(".")
    path = error.ctx.command_path if error.ctx else "glmq"
    click.echo(f"glmq: error: {told[:1].lower()}{told[1:]} ({path} --help shows what there is)", err=True)
    sys.exit(USER_ERROR)


def _debug_option() -> click.Option:
    def remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        ctx.meta["glmq.debug"] = value

    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show where an error came from.",
    )


def _is_lack_of_memory(error: BaseException | None) -> bool:
    """Also where it kept a library from being loaded, of which the system's loader tells only in words."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(error, (ImportError, OSError)) and "failed to map segment" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _leave_quietly() -> NoReturn:
    """End when nobody reads the output any more, without Python's own complaint about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(INTERNAL_ERROR)


@click.command(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="glmq")
def main() -> None:
    """GLM-4.5, 4.6 and 4.7 language models on ordinary CPUs, from quantized GGUF files."""
    # A stream that was closed before the program began takes everything and shows nothing.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
