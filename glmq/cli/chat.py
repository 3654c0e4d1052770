"""`glmq chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from glmq_kernels.errors import GlmqError

from .. import __version__
from ..chat.answer_limits import recommended_limits
from ..chat.when_full import WAYS
from ..demo import named_demo
from ..sampling.recommendations import recommended
from ..sampling.settings import Sampling
from . import NO_ANSWER
from .constraint_options import constraint_of, constraint_options
from .error_line import error_line
from .message_input import messages
from .model_argument import model_argument
from .named_files import file_option
from .option_groups import GroupedCommand, option_group
from .options import DEFAULT_MODEL, ModelOptions, Status, model_options_of_answers, open_model
from .sampling_options import sampling_of, sampling_options
from .talk_settings import THINKING_VIEWS, TalkSettings
from .terminal import note
from .text_input import piped_lines, piped_text
from .tool_options import Confirmation, open_toolbox, tool_options

if TYPE_CHECKING:
    from ..session_file import SessionFile
    from .talk import Talk


@click.command(short_help="Talk with a model.", cls=GroupedCommand)
@model_argument()
@click.argument("question", required=False)
@option_group(
    "Conversation",
    click.option("-p", "--prompt", metavar="TEXT", help="Answer this and end, as for QUESTION."),
    click.option("--system", metavar="TEXT", help="The system message."),
    click.option(
        "--session",
        callback=file_option,
        metavar="FILE",
        help="Keep the conversation and the model's state in a file, and go on from there the next time.",
    ),
    click.option(
        "--lines", is_flag=True, help="Each line of standard input is a message, not all of it one."
    ),
    click.option(
        "--commands",
        is_flag=True,
        help="As --lines, and lines of standard input that begin with / are commands.",
    ),
    click.option("--no-history", is_flag=True, help="Do not keep what is typed for the next chat."),
)
@option_group(
    "Answers",
    click.option(
        "-n", "--max-tokens", type=click.IntRange(min=1), metavar="N", help="End answers after N tokens."
    ),
    click.option(
        "--when-full",
        type=click.Choice(WAYS),
        default="stop",
        show_default=True,
        help="Without room for an answer let it stop, or drop or summarise the oldest turns.",
    ),
)
@option_group(
    "Thinking",
    click.option(
        "--think/--no-think",
        default=None,
        help="Think before answers, or not. [default: the model's choice]",
    ),
    click.option(
        "--think-budget", type=click.IntRange(min=0), metavar="N", help="Close the thinking after N tokens."
    ),
    click.option(
        "--think-keep", is_flag=True, help="Keep the thinking of earlier turns in the prompt (GLM-4.7)."
    ),
    click.option(
        "--think-view",
        type=click.Choice(THINKING_VIEWS),
        default="folded",
        show_default=True,
        help="How thinking is shown.",
    ),
)
@option_group(
    "Tools",
    tool_options,
    click.option(
        "--strict-tools", is_flag=True, help="Hold calls to the tools' schemas while they are written."
    ),
)
@option_group("Answers held to a form", constraint_options)
@option_group("Sampling", sampling_options)
@option_group("Model and memory", model_options_of_answers)
@option_group(
    "Output",
    click.option(
        "--markdown/--no-markdown", default=True, help="Draw Markdown, or show answers as plain text."
    ),
    click.option(
        "--stats/--no-stats",
        default=None,
        help="After each answer also how experts were read from disk, or not even its tokens and speed.",
    ),
)
def chat(
    model: str | None,
    question: str | None,
    prompt: str | None,
    system: str | None,
    session: Path | None,
    lines: bool,
    commands: bool,
    no_history: bool,
    options: ModelOptions,
    tools: tuple[str, ...],
    mcp: tuple[str, ...],
    tool_timeout: float,
    yes: bool,
    max_rounds: int,
    json_schema: str | None,
    grammar: str | None,
    regex: str | None,
    **settings: Any,
) -> None:
    """Talk with MODEL, a GGUF file or a demo model's name (`demo` without one); or answer QUESTION and end.

    Where standard input is a pipe, all of it is one message, which is answered; with a question it goes
    before that. Answers go to standard output, everything else to standard error.
    """
    own = {name: settings.pop(name) for name in TalkSettings.__dataclass_fields__ if name in settings}
    sampling_of(Sampling(), **settings)  # bad values are told before a model is loaded
    constraint = constraint_of(json_schema, grammar, regex)
    question = _question(question, prompt, lines or commands)
    answers_once = question is not None or not (lines or commands or sys.stdin.isatty())
    status = Status()
    demo = named_demo(model or DEFAULT_MODEL)
    if demo and demo.tools and not (tools or mcp):
        tools = (str(demo.tools),)
    with ExitStack() as stack:
        kept = stack.enter_context(_session_file(session)) if session else None
        toolbox = stack.enter_context(open_toolbox(tools, mcp, tool_timeout))
        opened = stack.enter_context(ExitStack())
        loaded = opened.enter_context(open_model(model, options, status))
        suits, limits = recommended(loaded.file.metadata), recommended_limits(loaded.file.metadata)
        own["max_tokens"] = own["max_tokens"] or limits.max_tokens
        from ..chat.chat_session import ChatSession
        from .talk import Talk

        chosen = TalkSettings(
            sampling=sampling_of(suits, **settings), recommended=suits, limits=limits, **own
        )
        chat = ChatSession(
            loaded, system=system, tools=toolbox, options=chosen.options(constraint),
            approve=Confirmation(yes), max_rounds=max_rounds,
        )  # fmt: skip
        chat.kept = kept
        talk = Talk(
            chat, loaded, chosen, lambda name: open_model(name, options, status), opened, constraint, status,
            has_commands=commands or (sys.stdin.isatty() and not answers_once),
            answers_once=answers_once,
        )  # fmt: skip
        del loaded  # so that /model frees its memory
        _begin(talk, demo.banner if demo else None)
        if answers_once:
            talk.ask(_message(question))
        else:
            _converse(talk, keep_history=not no_history)
        try:
            talk.save_session()
        except GlmqError as error:
            if answers_once or not sys.stdin.isatty():
                raise
            note(f"{error_line(error)}; /save FILE keeps the conversation elsewhere, /quit leaves without.")
            _converse(talk, keep_history=not no_history)
    if talk.n_unanswered and (answers_once or not sys.stdin.isatty()):
        sys.exit(NO_ANSWER)


def _session_file(path: Path) -> SessionFile:
    """The session file, which this chat has for itself. Raises GlmqError when it cannot have it."""
    from ..session_file import SessionFile

    return SessionFile(path)


def _question(question: str | None, prompt: str | None, by_line: bool) -> str | None:
    """The one question that is asked in the command, if one is. Raises GlmqError for more than that."""
    if question is not None and prompt is not None:
        raise GlmqError("give the question once: behind the model, or with -p")
    question = prompt if question is None else question
    if question is not None and by_line:
        raise GlmqError("leave out --lines and --commands, or the question; both together cannot be")
    return question


def _message(question: str | None) -> str:
    """The question, with all of standard input before it where that is a pipe."""
    piped = "" if sys.stdin.isatty() else piped_text().strip()
    text = "\n\n".join(filter(None, (piped, (question or "").strip())))
    if not text:
        raise GlmqError("there is no message: the question, or standard input, is empty")
    return text


def _begin(talk: Talk, banner: str | None) -> None:
    """Greet, and take up an earlier session."""
    if sys.stdin.isatty() and not talk.answers_once:
        note(f"glmq {__version__} · {talk.described()} · /help lists commands")
        if banner:
            note(banner)
    talk.restore_session()


def _converse(talk: Talk, keep_history: bool) -> None:
    """Message after message until the user leaves. At a terminal an error does not end it."""
    from . import slash

    typed = sys.stdin.isatty()
    said = messages(slash.completers(), talk.context_use, keep_history) if typed else piped_lines()
    for text in said:
        try:
            if talk.has_commands and text.startswith("/"):
                if told := slash.run(text, talk):
                    note(told)
            elif text.strip():
                talk.ask(text.strip())
        except slash.Quit:
            return
        except GlmqError as error:
            if not typed:
                raise
            note(error_line(error))
        except KeyboardInterrupt:
            if not typed:
                raise
            note("Stopped.")
