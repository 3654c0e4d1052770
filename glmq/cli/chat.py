"""`glmq chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from glmq_kernels.errors import UserError

from .. import __version__
from ..sampling.recommendations import recommended
from ..sampling.settings import Sampling
from . import slash
from .message_input import messages
from .options import ModelOptions, Status, model_options, open_model
from .sampling_options import sampling_of, sampling_options
from .stats import memory_line, stats_line
from .terminal import note, write

if TYPE_CHECKING:
    from ..chat.conversation import Conversation
    from ..experts.statistics import ExpertStatistics
    from ..generation import Generation
    from ..model import Model


@click.command(short_help="Talk with a model.")
@click.argument("model", required=False)
@click.option("--system", metavar="TEXT", help="The system message.")
@click.option(
    "-n", "--max-tokens", type=click.IntRange(min=1), metavar="N", help="End answers after N tokens."
)
@click.option(
    "--stats/--no-stats",
    default=None,
    help="After each answer also how experts were read from disk, or not even its tokens and speed.",
)
@sampling_options
@model_options
def chat(
    model: str | None,
    system: str | None,
    max_tokens: int | None,
    stats: bool | None,
    options: ModelOptions,
    **sampling: Any,
) -> None:
    """Talk with the GGUF file MODEL, by default the demo model.

    Where standard input is a pipe each of its lines is a message. Answers go to standard output,
    everything else to standard error.
    """
    from ..chat.conversation import Conversation

    conversation = Conversation()
    conversation.set_system(system)
    status = Status()
    with open_model(model, options, status) as loaded:
        settings = sampling_of(recommended(loaded.file.metadata), **sampling)
        talk = _Talk(loaded, conversation, settings, max_tokens, stats, status)
        loaded.chat_template  # noqa: B018  (told at the start when there is none)
        if sys.stdin.isatty():
            note(_greeting(loaded))
        _converse(talk)


def _converse(talk: _Talk) -> None:
    """Message after message until the user leaves. At a terminal an error does not end it."""
    for text in messages(dict.fromkeys(slash.COMMANDS)):
        try:
            if text.startswith("/"):
                note(slash.run(text, talk))
            elif text.strip():
                talk.answer(text.strip())
        except slash.Quit:
            return
        except UserError as error:
            if not sys.stdin.isatty():
                raise
            note(f"{error}")


class _Talk:
    """A model, the conversation with it, and how to answer."""

    def __init__(
        self,
        model: Model,
        conversation: Conversation,
        sampling: Sampling,
        max_tokens: int | None,
        stats: bool | None,
        status: Status,
    ) -> None:
        """stats: whether to tell of disk too (True), of nothing (False) or of tokens and speed (None)."""
        self.conversation = conversation
        self._model, self._sampling, self._max_tokens = model, sampling, max_tokens
        self._stats, self._status = stats, status

    def statistics(self) -> str:
        """What `/stats` shows."""
        return memory_line(self._model)

    def answer(self, text: str) -> None:
        """Answer a message. Ctrl-C ends the answer; what is there of it stays in the conversation."""
        self.conversation.add("user", text)
        before = self._model.experts.statistics.copy() if self._model.experts else None
        generation: Generation | None = None
        try:
            generation = self._model.chat(
                self.conversation.messages,
                sampling=self._sampling,
                max_tokens=self._max_tokens,
                progress=self._status.reading,
            )
            self._print(generation)
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
        finally:
            self._status.clear()
            if generation and generation.text:
                self.conversation.add("assistant", generation.text)
            else:
                self.conversation.drop_last()
        click.echo()
        self._tell_end(generation, before)

    def _print(self, generation: Generation) -> None:
        begun = False
        for piece in generation:
            self._status.clear()
            shown = piece if begun else piece.lstrip("\n")
            begun = begun or bool(shown)
            write(shown)

    def _tell_end(self, generation: Generation | None, before: ExpertStatistics | None) -> None:
        if generation is None:
            note("Stopped before the answer began.")
            return
        if generation.finish_reason == "context":
            n_ctx = self._model.n_ctx
            note(f"The context of {n_ctx} tokens is full: /clear it, or start with a larger --ctx.")
        if self._stats is not False:
            lines = stats_line(self._model, generation.timings, before)
            note(lines if self._stats else lines.splitlines()[0])


def _greeting(model: Model) -> str:
    name = model.file.metadata.get("general.name") or model.path.name
    return (
        f"glmq {__version__} · {name} · context {model.n_ctx} · {model.n_threads} threads"
        f" · /help lists commands"
    )
