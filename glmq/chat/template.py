"""Chat templates: Jinja programs in model files that turn messages into the text a model was trained on.

They run in Jinja's sandbox, with the settings and functions that Hugging Face transformers gives them
(https://huggingface.co/docs/transformers/chat_templating_writing).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from glmq_kernels.errors import UserError
from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from ..gguf import GGUFFile
    from ..tokenizer import Tokenizer

GLM_TEMPLATE = """[gMASK]<sop>
{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' + message.content }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
"""For GLM files without a template of their own."""

CHATML_TEMPLATE = """{% for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
"""For other files without one whose vocabulary has ChatML's tokens."""


class ChatTemplate:
    """A compiled template. Raises UserError when it is not a Jinja program."""

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        self.source = source
        self._special_tokens = dict(special_tokens or {})
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise UserError(f"the file's chat template cannot be read: {error}") from None

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True, **arguments: Any
    ) -> str:
        """The prompt for messages with `role` and `content`.

        arguments: what templates ask for beyond that, such as `tools` or `enable_thinking`. Raises
        UserError when the template refuses the messages.
        """
        context = {**self._special_tokens, "tools": None, "documents": None, **arguments}
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=add_generation_prompt, **context
            )
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            raise UserError(f"the model's chat template refuses these messages: {error}") from None


def template_of(file: GGUFFile, tokenizer: Tokenizer) -> ChatTemplate:
    """The template of a file, or a plain one for its kind. Raises UserError when there is no way to chat."""
    source = file.metadata.get("tokenizer.chat_template")
    if not isinstance(source, str):
        if tokenizer.token_id("[gMASK]") is not None:
            source = GLM_TEMPLATE
        elif tokenizer.token_id("<|im_start|>") is not None:
            source = CHATML_TEMPLATE
        else:
            raise UserError(f"{file.path} has no chat template; use glmq generate, which completes a text")
    named = {"bos_token": tokenizer.bos_id, "eos_token": tokenizer.eos_id}
    special = {name: tokenizer.token_text(token) for name, token in named.items() if token is not None}
    return ChatTemplate(source, special)


class _GenerationBlock(Extension):
    """`{% generation %}…{% endgeneration %}`, which marks answers for training and means nothing here."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's content."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationBlock]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, where Jinja's own filter would escape it for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)
