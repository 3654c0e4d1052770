"""The one kind of error that a person, not a programmer, is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave or asked for cannot be used.

    The message is one line that names the thing and says what to do. Command-line programs print it
    and exit with code 2; libraries let it pass through.
    """
