"""Whether a model can answer as a conversation asks it to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .chat_model import ChatModel
from .options import ChatOptions
from .preparation import prepare_answer
from .thinking import thinking_format


def check_fit(model: ChatModel, options: ChatOptions, tools: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What of the tools' schemas the model's calls are not held to, a line each.

    Raises GlmqError where it cannot answer with such options and tools.
    """
    question = [{"role": "user", "content": "?"}]
    prepared = prepare_answer(
        model.chat_template, model.tokenizer, question, list(tools), options, lambda prompt: (),
        add_generation_prompt=True, continue_final_message=False,
    )  # fmt: skip
    if options.constraint is not None:
        options.constraint.guide(model.tokenizer)
    return prepared.notes


def fitting_options(model: ChatModel, options: ChatOptions) -> tuple[ChatOptions, list[str]]:
    """Options without what the model's way of thinking does not allow, and the names of that."""
    form = thinking_format(model.chat_template)
    impossible: dict[str, Any] = {}
    if options.thinking is not None and not form.has_switch:
        impossible["thinking"] = None
    if options.preserve_thinking and not form.can_preserve:
        impossible["preserve_thinking"] = False
    return replace(options, **impossible), list(impossible)
