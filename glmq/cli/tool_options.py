"""The options of a chat with tools, and the question whether a call may run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .terminal import CONTROLS, ask_for_line, note

if TYPE_CHECKING:
    from ..tools import Call, ToolBox

Command = TypeVar("Command", bound=Callable[..., Any])

TURNED = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of what is shown, so that it reads as something else."""

YES = ("y", "yes", "yep", "yeah", "ok", "okay", "sure", "ja", "oui", "go ahead", "do it", "run it")
NO = ("n", "no", "nope", "nein", "non", "no thanks", "no thank you")
ALWAYS = ("a", "always", "always this tool")
REFUSAL = re.compile(r"(?:n|no|nope|nein|non)\s*[,.;:!\u2013\u2014-]\s*(\S.*)", re.IGNORECASE)

NOT_ASKED = "nobody can be asked, as standard input is no terminal; start with --yes to run all calls"


def tool_options(command: Command) -> Command:
    """Options that `open_toolbox`, `Confirmation` and `run_rounds` take."""
    options = (
        click.option("--tools", multiple=True, metavar="FILE",
                     help="Tools that the model may call: FILE.json, commands with schemas, or FILE.py,"
                          " functions; may be given again."),
        click.option("--mcp", multiple=True, metavar="COMMAND",
                     help="Start a Model Context Protocol server whose tools the model may call; may be"
                          " given again."),
        click.option("--yes", is_flag=True, help="Run tools without asking."),
        click.option("--max-rounds", type=click.IntRange(min=1), default=16, show_default=True, metavar="N",
                     help="Rounds of tool calls in one turn."),
        click.option("--tool-timeout", type=click.FloatRange(min=0, min_open=True), default=60.0,
                     show_default=True, metavar="SECONDS", help="Stop a call that takes longer."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def open_toolbox(tools: Sequence[str], mcp: Sequence[str], tool_timeout: float) -> Iterator[ToolBox]:
    """The tools that the options name; at the end their processes are ended. Raises GlmqError."""
    from ..tools import ToolBox, load_tools, mcp_tools

    with ExitStack() as started:
        sources = []
        for opened, names in ((load_tools, tools), (mcp_tools, mcp)):
            for name in names:
                sources.append(opened(name))
                started.callback(sources[-1].close)
        with ToolBox(sources, time_limit=tool_timeout) as toolbox:
            for name, reason in toolbox.unchecked.items():
                note(f"Arguments of {name} are not checked before it is called: {reason}")
            yield toolbox


class Confirmation:
    """Asks before each call, on standard error, unless all calls or all of a tool are allowed."""

    def __init__(self, yes: bool) -> None:
        self._yes = yes
        self._allowed: set[str] = set()
        self._to_show: list[tuple[str, dict[str, Any]]] = []
        self._told = False

    def asks(self, name: str, arguments: dict[str, Any]) -> bool:
        """Whether a call that is to come will be shown when this is called with it, as it is asked about."""
        asks = not self._yes and name not in self._allowed and sys.stdin.isatty()
        if asks:
            self._to_show.append((name, arguments))
        return asks

    def __call__(self, call: Call) -> bool | str:
        """True, or a refusal: False or the reason that the user gives.

        With standard input that is no terminal every call is refused, which is told once.
        """
        is_to_show = (call.name, call.arguments) in self._to_show
        if is_to_show:
            self._to_show.remove((call.name, call.arguments))
        if self._yes or call.name in self._allowed:
            if is_to_show:  # "always" was the answer since
                note(shown_call(call.name, call.arguments))
            return True
        if not sys.stdin.isatty():
            if not self._told:
                note(f"Tools are not run: {NOT_ASKED}.")
            self._told = True
            return NOT_ASKED
        note(shown_call(call.name, call.arguments))
        return self._asked(call.name)

    def _asked(self, name: str) -> bool | str:
        while True:
            line = ask_for_line("Run it? y(es), a(lways this tool), n(o), or no, and why: ")
            if line is None:
                return False
            if (answer := approval_of(line)) is not None:
                if answer == "always":
                    self._allowed.add(name)
                return answer == "always" or answer
            if line.strip():
                note("Answer yes, no or always; “no, it is Sunday” tells the model why.")


def approval_of(line: str) -> bool | str | None:
    """What an answer to the question means: yes, no, "always", a reason for a no, or None: nothing clear.

    Only what begins with a no refuses, and only what is nothing but a yes allows.
    """
    words = " ".join(line.lower().strip().rstrip(".!").split())
    if words in ALWAYS:
        return "always"
    if words in NO:
        return False
    if words.removesuffix("please").rstrip(" ,") in YES:
        return True
    refusal = REFUSAL.fullmatch(line.strip())
    return refusal[1].strip() if refusal else None


def shown_call(name: str, arguments: dict[str, Any]) -> str:
    """A call as lines for a terminal, whatever its values hold."""
    lines = [f"Call of {_on_one_line(name)}" + ("" if arguments else ", without arguments")]
    for key, value in arguments.items():
        key = _on_one_line(key)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        first, *more = _harmless(text).split("\n")
        if more:
            lines += [f"  {key}:", *(f"    | {line}" for line in (first, *more))]
        else:
            lines.append(f"  {key}: {first}")
    return "\n".join(lines)


def _harmless(text: str) -> str:
    return TURNED.sub("\ufffd", CONTROLS.sub("\ufffd", text))


def _on_one_line(text: str) -> str:
    return _harmless(text).replace("\n", "\ufffd")
