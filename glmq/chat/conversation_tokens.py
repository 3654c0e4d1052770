"""How much of the context a conversation takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glmq_kernels.errors import GlmqError

from ..session import Session
from .chat_model import ChatModel
from .messages import Message
from .options import ChatOptions
from .prompt import prompt_tokens
from .prompt_messages import rendered_prompt


def conversation_tokens(
    model: ChatModel,
    session: Session,
    messages: Sequence[Message],
    options: ChatOptions,
    tools: Sequence[Mapping[str, Any]],
) -> int:
    """Tokens of a conversation as the model reads it before the next question.

    Where the chat template takes no conversation without a question at its end, those of the session.
    """
    held = [*session.tokens, *session.drawn]
    try:
        prompt = rendered_prompt(
            model.chat_template, model.tokenizer, messages, tools,
            thinking=options.thinking, preserve=options.preserve_thinking, add_generation_prompt=False,
            template_arguments=options.template_arguments,
        )  # fmt: skip
    except GlmqError:
        return len(held)
    return len(prompt_tokens(prompt.text, model.tokenizer, held))
