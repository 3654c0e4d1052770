"""What the user is told of an error: its message, and the option that would help."""

from __future__ import annotations

import click
from glmq_kernels.errors import GlmqError

OPTIONS = {
    "n_ctx": "--ctx",
    "n_seq": "--sequences",
    "n_threads": "--threads",
    "importance": "--imatrix",
    "thinking": "--think and --no-think",
    "preserve_thinking": "--think-keep",
}
"""Options by the names of the Python arguments that they stand for, where these differ."""


def error_line(error: GlmqError, command: click.Command | None = None) -> str:
    """The message of an error, with the option for the setting that it is about.

    command: the one that runs, by default click's; an option that it does not have is not named.
    """
    if error.setting is None:
        return str(error)
    option = OPTIONS.get(error.setting, f"--{error.setting.replace('_', '-')}")
    context = click.get_current_context(silent=True)
    command = command or (context.command if context else None)
    if command and not any(option.split()[0] in parameter.opts for parameter in command.params):
        return str(error)
    return f"{error} ({option})"
