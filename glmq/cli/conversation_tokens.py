"""How much of the context a conversation takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..chat.messages import Message
from ..chat.prompt import prompt_tokens
from ..chat.prompt_messages import rendered_prompt

if TYPE_CHECKING:
    from ..model import Model
    from ..session import Session
    from .talk_settings import TalkSettings


def conversation_tokens(
    model: Model,
    session: Session,
    messages: Sequence[Message],
    settings: TalkSettings,
    tools: Sequence[Mapping[str, Any]],
) -> int:
    """Tokens of a conversation as the model reads it before the next question.

    Raises GlmqError when the chat template does not take it.
    """
    prompt = rendered_prompt(
        model.chat_template, model.tokenizer, messages, tools, thinking=settings.think,
        preserve=settings.think_keep, add_generation_prompt=False,
    )  # fmt: skip
    return len(prompt_tokens(prompt.text, model.tokenizer, [*session.tokens, *session.drawn]))
