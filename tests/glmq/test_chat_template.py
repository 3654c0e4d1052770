"""Chat templates render as transformers renders them, and prompts keep what is cached."""

from __future__ import annotations

from pathlib import Path

import pytest
from glmq_kernels.errors import UserError

from glmq.chat.prompt import prompt_tokens
from glmq.chat.template import CHATML_TEMPLATE, GLM_TEMPLATE, ChatTemplate

SHARED = Path(__file__).parents[3] / "shared" / "templates"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {"function": {"name": "weather", "arguments": {"city": "Köln", "days": 2}}}
USER = {"role": "user", "content": "Hi <there> & 'you'"}
CONVERSATIONS = {
    "one message": ([USER], {}),
    "system": ([{"role": "system", "content": "Be brief."}, USER], {}),
    "turns": ([USER, {"role": "assistant", "content": "<think>so</think>Hello"}, USER], {}),
    "no thinking": ([USER], {"enable_thinking": False}),
    "no prompt for an answer": ([USER], {"add_generation_prompt": False}),
    "tools": (
        [
            USER,
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "sun"},
        ],
        {"tools": [TOOL]},
    ),
}
EACH = "{% for m in messages %}"
OWN = {
    "loop controls": EACH + "{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "JSON": "{{ messages | tojson }}|{{ messages | tojson(indent=2) }}",
    "generation block": EACH + "{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "special tokens": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
    "blocks on lines of their own": EACH + "\n  {% if true %}\n{{ m.role }}\n  {% endif %}\n{% endfor %}\n",
    "namespaces": "{% set ns = namespace(n=0) %}" + EACH + "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "GLM": GLM_TEMPLATE,
    "ChatML": CHATML_TEMPLATE,
}


@pytest.fixture(scope="module")
def render_as_transformers():
    pytest.importorskip("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template

    def render(source, messages, add_generation_prompt=True, **arguments):
        [text], _ = render_jinja_template(
            [messages],
            chat_template=source,
            add_generation_prompt=add_generation_prompt,
            bos_token="<b>",
            eos_token="<e>",
            **arguments,
        )
        return text

    return render


def ours(source, messages, **arguments):
    return ChatTemplate(source, {"bos_token": "<b>", "eos_token": "<e>"}).render(messages, **arguments)


@pytest.mark.parametrize("name", ("GLM-4.6", "GLM-4.7-Flash"))
@pytest.mark.parametrize("case", CONVERSATIONS)
def test_real_templates(render_as_transformers, name, case):
    path = SHARED / f"{name}.jinja"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    source = path.read_text(encoding="utf-8")
    messages, arguments = CONVERSATIONS[case]
    text = ours(source, messages, **arguments)
    assert text == render_as_transformers(source, messages, **arguments)
    assert text.count("[gMASK]<sop>") == 1


@pytest.mark.parametrize("source", OWN.values(), ids=OWN)
@pytest.mark.parametrize("case", ("one message", "system", "turns"))
def test_what_templates_may_use(render_as_transformers, source, case):
    messages, _ = CONVERSATIONS[case]
    assert ours(source, messages) == render_as_transformers(source, messages)


def test_a_template_that_refuses_says_so_in_one_line():
    with pytest.raises(UserError, match="roles must alternate"):
        ours("{{ raise_exception('roles must alternate') }}", [USER])


def test_a_broken_template_is_refused():
    with pytest.raises(UserError, match="cannot be read"):
        ChatTemplate("{% for %}")


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
)
def test_templates_cannot_leave_the_sandbox(source):
    with pytest.raises(UserError, match="refuses"):
        ours(source, [USER])


def test_a_prompt_is_the_tokens_of_its_text(small):
    text = "[gMASK]<sop><|user|>\nhi<|assistant|>"
    assert prompt_tokens(text, small.tokenizer, []) == small.tokenize(text)


def test_cached_tokens_stay_however_they_were_drawn(small):
    """ "ab" is one token, but a model may say it as two."""
    encode = small.tokenize
    assert len(encode("ab")) == 1
    drawn = [*encode("[gMASK]<sop><|user|>\nhi<|assistant|>"), *encode("a"), *encode("b")]
    text = "[gMASK]<sop><|user|>\nhi<|assistant|>ab<|user|>\nmore<|assistant|>"
    assert prompt_tokens(text, small.tokenizer, drawn) == [*drawn, *encode("<|user|>\nmore<|assistant|>")]


def test_a_changed_answer_keeps_what_is_before_it(small):
    encode = small.tokenize
    beginning = encode("[gMASK]<sop><|user|>\nhi<|assistant|>")
    cached = [*beginning, *encode("some answer")]
    text = "[gMASK]<sop><|user|>\nhi<|assistant|>some other answer<|user|>"
    assert prompt_tokens(text, small.tokenizer, cached) == [*beginning, *encode("some other answer<|user|>")]


def test_text_that_only_looks_like_a_special_token_is_not_taken_for_one(small):
    cached = [*small.tokenize("[gMASK]"), *small.tokenizer.encode("<sop>", special=False)]
    assert prompt_tokens("[gMASK]<sop>hi", small.tokenizer, cached) == small.tokenize("[gMASK]<sop>hi")
