"""`glmq chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from glmq_kernels.errors import UserError

from .. import __version__
from ..demo import named_demo
from ..sampling.recommendations import recommended
from ..sampling.settings import Sampling
from .answer_view import Thinking
from .constraint_options import constraint_of, constraint_options
from .message_input import messages
from .named_files import file_option
from .options import DEFAULT_MODEL, ModelOptions, Status, model_options, open_model
from .sampling_options import sampling_of, sampling_options
from .terminal import note
from .tool_options import Confirmation, open_toolbox, tool_options

if TYPE_CHECKING:
    from ..session_file import SessionFile
    from .talk import Talk


@click.command(short_help="Talk with a model.")
@click.argument("model", required=False)
@click.option("--system", metavar="TEXT", help="The system message.")
@click.option(
    "-n", "--max-tokens", type=click.IntRange(min=1), metavar="N", help="End answers after N tokens."
)
@click.option(
    "--session",
    callback=file_option,
    metavar="FILE",
    help="Keep the conversation and the model's state in a file, and go on from there the next time.",
)
@click.option(
    "--think/--no-think", default=None, help="Think before answers, or not. [default: the model's choice]"
)
@click.option(
    "--think-budget", type=click.IntRange(min=0), metavar="N", help="Close the thinking after N tokens."
)
@click.option(
    "--preserve-thinking", is_flag=True, help="Keep the thinking of earlier turns in the prompt (GLM-4.7)."
)
@click.option("--hide-thinking", "thinking", flag_value="hidden", help="Do not show the thinking.")
@click.option("--show-thinking", "thinking", flag_value="unfolded", help="Show all of it, unfolded.")
@click.option("--no-markdown", is_flag=True, help="Show answers as plain text.")
@click.option(
    "--stats/--no-stats",
    default=None,
    help="After each answer also how experts were read from disk, or not even its tokens and speed.",
)
@tool_options
@click.option("--strict-tools", is_flag=True, help="Hold calls to the tools' schemas while they are written.")
@constraint_options
@sampling_options
@model_options
def chat(
    model: str | None,
    system: str | None,
    session: Path | None,
    options: ModelOptions,
    tools: tuple[str, ...],
    mcp: tuple[str, ...],
    tool_timeout: float,
    yes: bool,
    max_rounds: int,
    json_schema: str | None,
    grammar: str | None,
    regex: str | None,
    thinking: Thinking | None,
    no_markdown: bool,
    **settings: Any,
) -> None:
    """Talk with MODEL, a GGUF file or a demo model's name, `demo` (the default) or `demo-tools`.

    Where standard input is a pipe each of its lines is a message. Answers go to standard output,
    everything else to standard error.
    """
    from .talk_settings import TalkSettings

    own = {name: settings.pop(name) for name in TalkSettings.__dataclass_fields__ if name in settings}
    sampling_of(Sampling(), **settings)  # bad values are told before a model is loaded
    constraint = constraint_of(json_schema, grammar, regex)
    status = Status()
    demo = named_demo(model or DEFAULT_MODEL)
    if demo and demo.tools and not (tools or mcp):
        tools = (str(demo.tools),)
    with ExitStack() as stack:
        kept = stack.enter_context(_session_file(session)) if session else None
        toolbox = stack.enter_context(open_toolbox(tools, mcp, tool_timeout))
        opened = stack.enter_context(ExitStack())
        loaded = opened.enter_context(open_model(model, options, status))
        suits = recommended(loaded.file.metadata)
        from ..chat.conversation import Conversation
        from .talk import Talk

        conversation = Conversation()
        conversation.set_system(system)
        talk = Talk(
            loaded,
            conversation,
            TalkSettings(
                sampling=sampling_of(suits, **settings),
                recommended=suits,
                thinking=thinking or "folded",
                markdown=not no_markdown,
                **own,
            ),
            toolbox,
            Confirmation(yes),
            max_rounds,
            lambda name: open_model(name, options, status),
            opened,
            constraint,
            kept,
            status,
        )
        del loaded  # so that /model frees its memory
        _begin(talk, demo.banner if demo else None)
        _converse(talk)
        talk.save_session()


def _session_file(path: Path) -> SessionFile:
    """The session file, which this chat has for itself. Raises UserError when it cannot have it."""
    from ..session_file import SessionFile

    return SessionFile(path)


def _begin(talk: Talk, banner: str | None) -> None:
    """Refuse at once what cannot be, greet, take up an earlier session."""
    talk.check(talk.model, talk.settings)
    if sys.stdin.isatty():
        note(f"glmq {__version__} · {talk.described()} · /help lists commands")
        if banner:
            note(banner)
    talk.restore_session()


def _converse(talk: Talk) -> None:
    """Message after message until the user leaves. At a terminal an error does not end it."""
    from . import slash

    for text in messages(slash.completers(), talk.context_use):
        try:
            if text.startswith("/"):
                if told := slash.run(text, talk):
                    note(told)
            elif text.strip():
                talk.ask(text.strip())
        except slash.Quit:
            return
        except UserError as error:
            if not sys.stdin.isatty():
                raise
            note(f"{error}")
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            note("Stopped.")
