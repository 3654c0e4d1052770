"""Chat templates: Jinja programs in model files that turn messages into the text a model was trained on.

They run in Jinja's sandbox, with the settings and functions that Hugging Face transformers gives them
(https://huggingface.co/docs/transformers/chat_templating_writing).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from glmq_kernels.errors import GlmqError
from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from .glm_template import glm_template
from .messages import REASONING_NAMES, Message
from .plain_data import plain_data
from .quoted_tokens import MARK, SAID_MARK
from .template_messages import template_messages

if TYPE_CHECKING:
    from ..gguf import GGUFFile
    from ..tokenizer import Tokenizer

CHATML_TEMPLATE = """{% for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
"""For files without a template, not GLM's, whose vocabulary has ChatML's tokens."""

SPECIAL_TOKENS = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "sep_token": "seperator",
    "pad_token": "padding",
    "mask_token": "mask",
}
"""What templates call special tokens, and what GGUF does (it spells one of them so)."""

_NOT_ASCII = re.compile(f"[^\0-~{MARK}{SAID_MARK}]")
"""What JSON in ASCII escapes, but for the marks of quoted names, which are to be found again."""

_END_MARK = "<end of the unfinished message> "


class ChatTemplate:
    """A compiled template. Raises GlmqError when it is not a Jinja program."""

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        self.source = source
        self._special_tokens = dict(special_tokens or {})
        try:
            self._template = _environment().from_string(source)
        except TemplateSyntaxError as error:
            raise GlmqError(
                f"the model's chat template cannot be read: {error.message} (its line {error.lineno})"
            ) from None
        except (TemplateError, RecursionError) as error:
            raise GlmqError(f"the model's chat template cannot be read: {_one_line(error)}") from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        /,
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool | str = False,
        **arguments: Any,
    ) -> str:
        """The prompt for messages (see `messages.py`), which stay as they are.

        continue_final_message: the text ends inside the last message, in its content or in the key named,
        such as "reasoning_content", so that the model goes on with it. arguments: what templates ask for
        beyond that, such as `tools`, `documents` or `enable_thinking`. Raises GlmqError when the template
        refuses the messages, or messages have no form that templates take.
        """
        copies = [_without_switch(message) for message in template_messages(messages)]
        key = "content" if continue_final_message is True else continue_final_message
        if not key:
            return self._render(copies, add_generation_prompt, arguments)
        unfinished = _mark_end(copies, key)
        return _text_to_mark(self._render(copies, False, arguments), unfinished)

    def _render(
        self, messages: list[Message], add_generation_prompt: bool, arguments: Mapping[str, Any]
    ) -> str:
        context = {
            **self._special_tokens,
            "tools": None,
            "documents": None,
            **plain_data(arguments, "an argument of the template"),
        }
        try:
            return self._template.render(
                {**context, "messages": messages, "add_generation_prompt": add_generation_prompt}
            )
        except Exception as error:
            raise GlmqError(f"the model's chat template refuses these messages: {_one_line(error)}") from None


def template_of(file: GGUFFile, tokenizer: Tokenizer) -> ChatTemplate:
    """The template of a file, or a plain one for its kind. Raises GlmqError when there is no way to chat."""
    source = file.metadata.get("tokenizer.chat_template")
    if not isinstance(source, str | None):
        raise GlmqError(
            f"{file.path}: tokenizer.chat_template must be text; the file is wrong, get another one"
        )
    if not source:
        if tokenizer.token_id("[gMASK]") is not None:
            source = glm_template(f"{file.metadata.get('general.name')} {file.path.name}")
        elif tokenizer.token_id("<|im_start|>") is not None:
            source = CHATML_TEMPLATE
        else:
            raise GlmqError(f"{file.path} has no chat template; it can only continue a text")
    named = {
        name: file.metadata.get(f"tokenizer.ggml.{kind}_token_id") for name, kind in SPECIAL_TOKENS.items()
    }
    special = {
        name: tokenizer.token_text(token)
        for name, token in named.items()
        if isinstance(token, int) and 0 <= token < tokenizer.n_vocab
    }
    return ChatTemplate(source, special)


def _without_switch(message: Message) -> Message:
    """The message without what glmq keeps in it: whether a user's turn is answered with thinking."""
    return {
        key: value for key, value in message.items() if not (key == "thinking" and isinstance(value, bool))
    }


def _mark_end(messages: list[Message], key: str) -> str:
    """Put a mark at the end of a text of the last message; gives the text."""
    last = messages[-1] if messages else {}
    names = REASONING_NAMES if key in REASONING_NAMES else (key,)
    texts = [last[name] for name in names if isinstance(last.get(name), str)]
    if not texts:
        raise GlmqError(f"the last message has no {key} that could be continued")
    for name in names:
        if last.get(name) == texts[0]:
            last[name] = texts[0] + _END_MARK
    return str(texts[0])


def _text_to_mark(rendered: str, unfinished: str) -> str:
    """The rendered text before the mark; without white space there when the template trims it."""
    at = rendered.rfind(_END_MARK.strip())
    if at < 0 or unfinished.strip() not in rendered:
        raise GlmqError("the model's chat template changes the last message, so it cannot be continued")
    kept = rendered[:at]
    return kept if rendered.startswith(_END_MARK, at) else kept.rstrip()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _GenerationBlock(Extension):
    """`{% generation %}…{% endgeneration %}`, which marks answers for training and means nothing here."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        """The block's content, with a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _TemplateDict:
    """`dict` without the attributes of Python's, which would change what must not be changed."""

    def __call__(self, *items: Any, **named: Any) -> dict[Any, Any]:
        return dict(*items, **named)

    def fromkeys(self, *arguments: Any) -> dict[Any, Any]:
        """As that of `dict`."""
        return dict.fromkeys(*arguments)


class _TemplateNamespace(Namespace):
    """`namespace` that takes no names with an underscore before them, which are Python's own."""

    def __init__(*items: Any, **named: Any) -> None:
        namespace, *given = items
        values = dict(*given, **named)
        for name in values:
            _refuse_private(name)
        Namespace.__init__(namespace, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        Namespace.__setitem__(self, name, value)


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"namespaces hold no name that begins with an underscore, such as {name}")


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationBlock]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    environment.globals["dict"] = _TemplateDict()
    environment.globals["namespace"] = _TemplateNamespace
    return environment


def _tojson(
    x: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, where Jinja's own filter would escape it for HTML."""
    text = json.dumps(x, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    return _NOT_ASCII.sub(_escaped, text) if ensure_ascii else text


def _escaped(character: re.Match[str]) -> str:
    return json.dumps(character[0])[1:-1]


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)
