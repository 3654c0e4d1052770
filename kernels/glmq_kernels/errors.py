"""The errors of glmq: what a person, not a programmer, is meant to read."""

from __future__ import annotations


class GlmqError(Exception):
    """Something the user gave or asked for cannot be used.

    The message is one line that names the thing and says what to do. Command-line programs print it
    and exit with code 2; libraries let it pass through.

    setting: name of the Python argument that would have to be another, where there is one. A program whose
    users know it by another name, such as an option, can add that.
    """

    def __init__(self, message: str = "", *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting
