"""From what a caller says in messages and tools to the text of the prompt, with nothing lost or misread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glmq_kernels.errors import GlmqError

from ..argument_checks import check_mapping
from ..tokenizer import Tokenizer
from .messages import Message, check_messages
from .plain_data import plain_data
from .quoted_tokens import QuotedNames
from .template import ChatTemplate
from .template_messages import plain_messages, template_messages, with_thinking_apart
from .thinking import RenderedPrompt, render_turn
from .tool_definitions import require_tools

OWN_ARGUMENTS = (
    "messages",
    "tools",
    "thinking",
    "preserve",
    "add_generation_prompt",
    "continue_final_message",
)
"""What is no argument of the template alone."""


def rendered_prompt(
    template: ChatTemplate,
    tokenizer: Tokenizer,
    messages: object,
    tools: Sequence[Mapping[str, Any]],
    *,
    thinking: bool | None = None,
    preserve: bool = False,
    add_generation_prompt: bool = True,
    continue_final_message: bool | str = False,
    template_arguments: Mapping[str, Any] | None = None,
) -> RenderedPrompt:
    """The prompt, in which names of tokens that messages and tools hold are marked (`quoted_tokens.py`).

    Raises GlmqError for messages that are not whole, for tools where the template tells of none, and for what
    the template refuses; TypeError for template arguments that are no mapping.
    """
    checked = _checked(messages)
    if tools:
        require_tools(template)
    names = QuotedNames(tokenizer, template.source)
    said = names.quoted_messages(map(with_thinking_apart, template_messages(checked)))
    return render_turn(
        template,
        said,
        thinking=thinking,
        preserve=preserve,
        tools=names.quoted(tools) or None,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=continue_final_message,
        **names.quoted(_arguments(template_arguments)),
    )


def _checked(messages: object) -> list[Message]:
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        kind = type(messages).__name__
        raise GlmqError(f"messages is a {kind}; it must be a list of objects with role and content")
    checked = check_messages(plain_messages(messages))
    if not checked:
        raise GlmqError("there are no messages; give at least one of the user")
    return checked


def _arguments(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        return {}
    check_mapping("template_arguments", given)
    arguments = plain_data(given, "template_arguments")
    if not all(isinstance(name, str) for name in arguments):
        raise TypeError("template_arguments is a mapping whose keys are not all texts")
    for name in OWN_ARGUMENTS:
        if name in arguments:
            raise TypeError(f"template_arguments holds {name}; give it as an argument of its own")
    return dict(arguments)
