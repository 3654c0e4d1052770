"""Thinking in prompts: on or off for each turn, kept or not, whatever the model's template makes of it.

Templates tell nothing about themselves, so small conversations are rendered and compared. Three kinds
matter. GLM-4.7's switch decides how the prompt ends and changes nothing before. That of 4.5 and 4.6 also puts
"/nothink" behind every user's message, so that turning it would change the whole conversation and void what
is cached; here only messages of turns without thinking get that mark. Other templates have no switch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from glmq_kernels.errors import GlmqError

from .messages import REASONING_NAMES, Message, text_of
from .template import ChatTemplate
from .template_messages import plain_messages

OPENING, CLOSING = "<think>", "</think>"

_THOUGHT, _LAST_QUESTION = "a first thought", "a last question"
_QUESTION = [{"role": "user", "content": _LAST_QUESTION}]
_CONVERSATION = [
    {"role": "user", "content": "a first question"},
    {"role": "assistant", "content": "a first answer", "reasoning_content": _THOUGHT},
    *_QUESTION,
]


@dataclass(frozen=True)
class ThinkingFormat:
    """What a template makes of thinking.

    has_switch: `enable_thinking` changes the prompt. user_mark: what a user's message ends with when its
    turn is answered without thinking, such as "/nothink". turns_are_free: a turn's switch changes nothing
    before that turn. can_preserve: thinking of earlier turns can be kept in the prompt. prompt_opens: a
    prompt may end inside the thinking, so that the model never writes the opening tag.
    """

    has_switch: bool
    user_mark: str
    turns_are_free: bool
    can_preserve: bool
    prompt_opens: bool


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt.

    in_reasoning: what the model writes is thinking from its first token on. may_think: the model may begin
    with `<think>`, as the template knows thinking and the prompt has neither closed it nor begun the answer.
    """

    text: str
    in_reasoning: bool
    may_think: bool


@lru_cache(maxsize=16)
def thinking_format(template: ChatTemplate) -> ThinkingFormat:
    """What a template makes of thinking, found by rendering with it."""
    on, off, unset = (_probe(template, _CONVERSATION, **_switch(value)) for value in (True, False, None))
    mark = _user_mark(template) if on == unset else ""
    bodies = [
        _probe(template, _CONVERSATION, add_generation_prompt=False, **_switch(value))
        for value in (True, False, None)
    ]
    kept = _probe(template, _CONVERSATION, clear_thinking=False)
    return ThinkingFormat(
        has_switch=on != off,
        user_mark=mark,
        turns_are_free=bool(mark) or len(set(bodies)) == 1,
        can_preserve=_THOUGHT in (kept or ""),
        prompt_opens=any(_ends_open(text or "") for text in (on, unset)),
    )


def render_turn(
    template: ChatTemplate,
    messages: Sequence[Mapping[str, Any]],
    /,
    *,
    thinking: bool | None = None,
    preserve: bool = False,
    tools: Sequence[Any] | None = None,
    **arguments: Any,
) -> RenderedPrompt:
    """The prompt for the next answer in a conversation that may think in some turns and not in others.

    A turn's switch is the `thinking` of its user's message, where that has one, else the argument, else the
    template's own choice; it holds for all answers until the next user's message. Write it into the messages
    where it may change during a conversation: then no turn changes the text of those before it. A message
    that itself ends with the template's mark, "/nothink", counts as switched off.

    preserve: keep the thinking of earlier turns. arguments: further ones for the template;
    `enable_thinking` among them stands for `thinking`, without complaint when there is no switch.

    Raises GlmqError when `thinking` is given to a template without a switch or `preserve` to one that cannot.
    """
    form = thinking_format(template)
    if thinking is not None and not form.has_switch:
        raise GlmqError(
            "the model's chat template has no switch for thinking; leave it to the model", setting="thinking"
        )
    if preserve and not form.can_preserve:
        raise GlmqError(
            "the model's chat template cannot keep the thinking of earlier turns (GLM-4.7's can);"
            " leave that out",
            setting="preserve_thinking",
        )
    if preserve:
        arguments["clear_thinking"] = False
    asked = arguments.pop("enable_thinking", None)
    default = asked if thinking is None else thinking
    messages = plain_messages(messages)
    switches = [_turn_switch(message, default, form) for message in messages if _is_user(message)]
    arguments |= {"tools": tools}
    last = switches[-1] if switches else default
    if form.user_mark:
        text = _with_marks(template, _marked(messages, default, form), last, arguments)
    else:
        text = template.render(messages, **_switch(last), **arguments)
    knows_thinking = CLOSING in template.source
    if continued := arguments.get("continue_final_message"):
        return RenderedPrompt(text, _continues_thinking(messages[-1], continued), may_think=False)
    return RenderedPrompt(
        text,
        in_reasoning=form.prompt_opens and _ends_open(text),
        may_think=knows_thinking and not text.rstrip().endswith(CLOSING),
    )


def _continues_thinking(message: Mapping[str, Any], continued: bool | str) -> bool:
    """Whether a prompt that ends inside its last message ends inside thinking."""
    if continued in REASONING_NAMES:
        return True
    said = text_of(message)
    return said.rfind(OPENING) > said.rfind(CLOSING)


def _with_marks(
    template: ChatTemplate, marked: Sequence[Mapping[str, Any]], last: bool | None, arguments: dict[str, Any]
) -> str:
    """The prompt of messages with their marks, which the template's own switch would put everywhere."""
    add = arguments.pop("add_generation_prompt", True)
    if last is not False or not add:
        return template.render(marked, enable_thinking=True, add_generation_prompt=add, **arguments)
    body, switched_off, prompt = (
        template.render(marked, enable_thinking=switch, add_generation_prompt=add, **arguments)
        for switch, add in ((True, False), (False, False), (False, True))
    )
    return body + prompt.removeprefix(switched_off)


def _marked(
    messages: Sequence[Mapping[str, Any]], default: bool | None, form: ThinkingFormat
) -> list[Mapping[str, Any]]:
    return [
        _with_mark(message, form.user_mark)
        if _is_user(message) and _turn_switch(message, default, form) is False
        else message
        for message in messages
    ]


def _with_mark(message: Mapping[str, Any], mark: str) -> Mapping[str, Any]:
    if _ends_with(message, mark):
        return message
    content = message.get("content")
    if isinstance(content, (list, tuple)):
        return {**message, "content": [*content, {"type": "text", "text": mark}]}
    return {**message, "content": text_of(message) + mark}


def _turn_switch(message: Mapping[str, Any], default: bool | None, form: ThinkingFormat) -> bool | None:
    if form.user_mark and _ends_with(message, form.user_mark):
        return False
    own = message.get("thinking")
    return own if isinstance(own, bool) else default


def _ends_with(message: Mapping[str, Any], mark: str) -> bool:
    return text_of(message).rstrip().endswith(mark)


def _user_mark(template: ChatTemplate) -> str:
    """What the switch puts behind users' messages, or nothing when that is not what it does to them."""
    on, off = (
        _probe(template, _QUESTION, add_generation_prompt=False, enable_thinking=switch)
        for switch in (True, False)
    )
    if on is None or off is None or _LAST_QUESTION not in on:
        return ""
    before, after = on.split(_LAST_QUESTION, 1)
    if not (off.startswith(before + _LAST_QUESTION) and off.endswith(after)):
        return ""
    mark = off[len(before + _LAST_QUESTION) : len(off) - len(after)]
    by_hand: list[Message] = [
        {**message, "content": message["content"] + mark} if message["role"] == "user" else message
        for message in _CONVERSATION
    ]
    ours = _probe(template, by_hand, add_generation_prompt=False, enable_thinking=True)
    theirs = _probe(template, _CONVERSATION, add_generation_prompt=False, enable_thinking=False)
    prompt = _probe(template, _CONVERSATION, enable_thinking=False)
    return mark if ours == theirs and (prompt or "").startswith(theirs or "") else ""


def _probe(template: ChatTemplate, messages: Sequence[Mapping[str, Any]], **arguments: Any) -> str | None:
    """The text, or nothing from a template that refuses the messages."""
    try:
        return template.render(messages, **arguments)
    except GlmqError:
        return None


def _switch(value: bool | None) -> dict[str, bool]:
    return {} if value is None else {"enable_thinking": value}


def _is_user(message: object) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "user"


def _ends_open(text: str) -> bool:
    return text.rstrip().endswith(OPENING)
