"""What can be changed while a chat goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from glmq_kernels.errors import GlmqError

from ..chat.answer_limits import AnswerLimits
from ..chat.options import ChatOptions
from ..chat.when_full import WhenFull, known_way
from ..sampling.from_text import NAMES, set_sampling
from ..sampling.settings import Sampling
from .answer_view import Thinking

if TYPE_CHECKING:
    from ..constraint import Constraint

THINKING_VIEWS: tuple[Thinking, ...] = ("folded", "unfolded", "hidden")
LIMITS = {"max_tokens": 1, "think_budget": 0}
"""Settings that are numbers of tokens, and the least that each may be."""


@dataclass(frozen=True)
class TalkSettings:
    """How answers are drawn and shown.

    sampling, recommended: of the tokens, and what suits the model. max_tokens, limits: of an answer, and
    what the model's file recommends. think: whether to think before an answer; None leaves it to the
    model. think_budget: tokens after which thinking is closed. think_keep: whether prompts hold the
    thinking of earlier turns. think_view: how thinking is shown. strict_tools: whether calls are held to
    the tools' schemas. when_full: what is done when the context is full. stats: whether to tell of disk too
    (True), of nothing (False) or of tokens and speed (None). markdown: whether answers are drawn as such.
    """

    sampling: Sampling
    recommended: Sampling
    max_tokens: int | None = None
    limits: AnswerLimits = field(default_factory=AnswerLimits)
    think: bool | None = None
    think_budget: int | None = None
    think_keep: bool = False
    think_view: Thinking = "folded"
    strict_tools: bool = False
    when_full: WhenFull = "stop"
    stats: bool | None = None
    markdown: bool = True

    def suited_to(self, recommended: Sampling, limits: AnswerLimits) -> TalkSettings:
        """The same for a model that other settings suit, which are taken unless the user chose others."""
        sampling = recommended if self.sampling == self.recommended else self.sampling
        max_tokens = limits.max_tokens if self.max_tokens == self.limits.max_tokens else self.max_tokens
        return replace(self, sampling=sampling, recommended=recommended, max_tokens=max_tokens, limits=limits)

    def options(self, constraint: Constraint | None) -> ChatOptions:
        """What a conversation takes of them, with what answers are held to."""
        return ChatOptions(
            thinking=self.think,
            preserve_thinking=self.think_keep,
            think_budget=self.think_budget,
            strict_tools=self.strict_tools,
            constraint=constraint,
            sampling=self.sampling,
            max_tokens=self.max_tokens,
        )

    def without(self, dropped: Sequence[str]) -> tuple[TalkSettings, list[str]]:
        """The same without some options of a conversation, and how they are called here."""
        names = [_NAMES_OF_OPTIONS[option] for option in dropped if option in _NAMES_OF_OPTIONS]
        defaults: dict[str, Any] = {each.name: each.default for each in fields(self) if each.name in names}
        return replace(self, **defaults), names


_NAMES_OF_OPTIONS = {"thinking": "think", "preserve_thinking": "think_keep"}


def setting_names() -> list[str]:
    """Names that `changed` takes."""
    return [*_OWN, *(each.name for each in fields(Sampling)), "default"]


def setting_name(text: str) -> str:
    """The name of a setting as a user types it: with - or _, perhaps as an option or by llama.cpp's name.

    Raises GlmqError, which lists all names, when there is none.
    """
    plain = text.strip().lower().lstrip("-").replace("-", "_")
    name = NAMES.get(plain, plain)
    if name not in setting_names():
        raise GlmqError(f"there is no setting {text!r}; there are {', '.join(setting_names())}")
    return name


def changed(settings: TalkSettings, name: str, text: str) -> TalkSettings:
    """The settings with one of them as a user types it. Raises GlmqError for what makes no sense."""
    name = setting_name(name)
    if name == "max_tokens" and text.strip().lower() == "default":
        return replace(settings, max_tokens=settings.limits.max_tokens)
    if name in _OWN:
        return replace(settings, **{name: _OWN[name](name, text.strip().lower())})
    return replace(settings, sampling=set_sampling(settings.sampling, name, text, settings.recommended))


def _switch(name: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise GlmqError(f"{name} is on or off, not {text!r}")
    return text == "on"


def _choice(name: str, text: str) -> bool | None:
    if text not in ("on", "off", "default"):
        raise GlmqError(f"{name} is on, off or default, not {text!r}")
    return None if text == "default" else text == "on"


def _number(name: str, text: str) -> int | None:
    if text in ("off", "default"):
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < LIMITS[name]:
        raise GlmqError(f"{name} is a number of tokens from {LIMITS[name]} on, or off, not {text!r}")
    return int(text)


def _view(name: str, text: str) -> Thinking:
    for view in THINKING_VIEWS:
        if text == view:
            return view
    raise GlmqError(f"{name} is {', '.join(THINKING_VIEWS[:-1])} or {THINKING_VIEWS[-1]}, not {text!r}")


_OWN: dict[str, Any] = {
    "max_tokens": _number,
    "think": _choice,
    "think_budget": _number,
    "think_keep": _switch,
    "think_view": _view,
    "strict_tools": _switch,
    "when_full": lambda name, text: known_way(text),
    "stats": _choice,
    "markdown": _switch,
}
