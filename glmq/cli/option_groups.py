"""Options in groups, each with a heading of its own in the help text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Decorator = Callable[[Decorated], Decorated]


class GroupedCommand(click.Command):
    """A command whose help text shows options by their groups, those of none last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "group", ""), []).append(record)
        others = sections.pop("", [])
        for heading, records in [*sections.items(), ("Other options", others)]:
            with formatter.section(heading):
                formatter.write_dl(records)


def option_group(heading: str, *options: Decorator[Any]) -> Decorator[Any]:
    """A decorator that gives a command some options, made by `click.option`, under a heading.

    An option that has a heading already keeps it.
    """

    def decorate(command: Any) -> Any:
        before = _parameters(command)
        for option in reversed(options):
            command = option(command)
        for parameter in _parameters(command):
            if not any(parameter is each for each in before) and not getattr(parameter, "group", ""):
                parameter.group = heading  # type: ignore[attr-defined]
        return command

    return decorate


def _parameters(command: Any) -> list[click.Parameter]:
    """Parameters of a command, or of a function that is about to become one."""
    if isinstance(command, click.Command):
        return list(command.params)
    return list(getattr(command, "__click_params__", []))
