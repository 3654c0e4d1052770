"""What the user is told of an error: its message, and the option that would help."""

from __future__ import annotations

from glmq_kernels.errors import UserError

OPTIONS = {
    "n_ctx": "--ctx",
    "n_threads": "--threads",
    "thinking": "--think and --no-think",
    "preserve_thinking": "--think-keep",
}
"""Options by the names of the Python arguments that they stand for, where these differ."""


def error_line(error: UserError) -> str:
    """The message of an error, with the option for the setting that it is about."""
    if error.setting is None:
        return str(error)
    option = OPTIONS.get(error.setting, f"--{error.setting.replace('_', '-')}")
    return f"{error} ({option})"
