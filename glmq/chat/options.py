"""How a conversation is answered: all that can be chosen, but not the conversation itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from ..argument_checks import (
    check_count,
    check_instance,
    check_mapping,
    check_names,
    check_switch,
    stop_texts,
)
from ..sampling.changes import SamplingChanges, SamplingNames
from ..sampling.settings import Sampling

if TYPE_CHECKING:
    from ..constraint import Constraint
    from ..session import Evaluated, Session
    from ..tools.own_functions import Tools
    from ..tools.rounds import Approve


class ChatOptionNames(SamplingNames, total=False):
    """The fields of `ChatOptions` as arguments of a function."""

    thinking: bool | None
    preserve_thinking: bool
    think_budget: int | None
    constraint: Constraint | None
    strict_tools: bool
    tool_choice: str | Mapping[str, Any]
    max_tool_calls: int | None
    sampling: Sampling | None
    max_tokens: int | None
    stop: str | Sequence[str]
    logprobs: int | None
    template_arguments: Mapping[str, Any] | None


class ChatArguments(ChatOptionNames, total=False):
    """What `Model.chat` takes beside the messages."""

    tools: Sequence[Mapping[str, Any]] | None
    options: ChatOptions | None
    session: Session | None
    progress: Evaluated | None
    add_generation_prompt: bool
    continue_final_message: bool | str


class ConversationArguments(TypedDict, total=False):
    """What `Model.conversation` takes by name."""

    system: str | None
    tools: Tools | None
    options: ChatOptions | None
    approve: Approve | None
    max_rounds: int | None
    when_full: str
    progress: Evaluated | None


OTHER_NAMES = [name for name in ChatArguments.__annotations__ if name not in ChatOptionNames.__annotations__]


@dataclass(frozen=True, kw_only=True, repr=False)
class ChatOptions(SamplingChanges):
    """How answers are given. `dataclasses.replace` makes others of it.

    thinking: on or off, None as the model likes; a user's message may say it for its turn, as
    `"thinking": False`. preserve_thinking: keep that of earlier turns in the prompt. think_budget: tokens
    after which thinking is closed.

    constraint: what the answer behind the thinking is held to (`glmq.constraint`). strict_tools: calls are
    held to the tools' schemas; what of them is not held is in the answer's `notes`. With both, an answer is
    calls or fits the constraint. tool_choice: "auto",
    "none", "required" or {"type": "function", "function": {"name": ...}}, as in OpenAI's API: the last two
    begin with a call, which is held to the schemas. max_tool_calls: the answer ends behind so many.

    sampling: what suits the model unless it is given. temperature, top_p, seed and all other fields of
    `Sampling`: changes of that, None for none. max_tokens: of thinking, content and calls together. stop: a
    text or several, the first of which ends the content. logprobs: how many of the likeliest tokens are
    told for each token, beside its own log-probability. template_arguments: what the model's chat template
    asks for beyond all these, such as `documents`.

    Raises TypeError for values of wrong types and GlmqError for those that cannot be.
    """

    thinking: bool | None = None
    preserve_thinking: bool = False
    think_budget: int | None = None
    constraint: Constraint | None = None
    strict_tools: bool = False
    tool_choice: str | Mapping[str, Any] = "auto"
    max_tool_calls: int | None = None
    sampling: Sampling | None = None
    max_tokens: int | None = None
    stop: str | Sequence[str] = ()
    logprobs: int | None = None
    template_arguments: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("thinking", self.thinking, or_none=True)
        check_switch("preserve_thinking", self.preserve_thinking)
        check_switch("strict_tools", self.strict_tools)
        check_count("think_budget", self.think_budget, 0)
        check_count("max_tool_calls", self.max_tool_calls, 1)
        check_count("max_tokens", self.max_tokens, 1)
        check_count("logprobs", self.logprobs, 0)
        check_instance("sampling", self.sampling, Sampling, "glmq.Sampling(...)")
        if self.constraint is not None:
            from ..constraint import Constraint

            check_instance("constraint", self.constraint, Constraint, "glmq.constraint")
        if self.template_arguments is not None:
            check_mapping("template_arguments", self.template_arguments)
        object.__setattr__(self, "stop", tuple(stop_texts(self.stop)))

    def __repr__(self) -> str:
        """What is not as it is by default."""
        given = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(self)
            if getattr(self, each.name) != each.default
        ]
        return f"ChatOptions({', '.join(given)})"


def with_names(
    options: ChatOptions | None, names: Mapping[str, Any], *, of: str, others: Sequence[str] = OTHER_NAMES
) -> ChatOptions:
    """Options with those that are given by name in place of theirs.

    of: the function that was given them; others: names that it takes too. Raises TypeError for a name that
    is not known.
    """
    check_instance("options", options, ChatOptions, "glmq.ChatOptions(...)")
    check_names(of, names, [each.name for each in fields(ChatOptions)], others)
    return replace(options or ChatOptions(), **names)
