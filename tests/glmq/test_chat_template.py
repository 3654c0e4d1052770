"""Chat templates render as transformers renders them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import given, settings
from hypothesis import strategies as st

from glmq.chat.glm_template import GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE
from glmq.chat.template import CHATML_TEMPLATE, ChatTemplate, template_of
from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer

from . import conversations as some
from .vocabulary_files import write_byte_pairs

USER = {"role": "user", "content": "Hi <there> & 'you'"}
EACH = "{% for m in messages %}"
OWN = {
    "loop controls": EACH + "{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "JSON": "{{ messages | tojson }}|{{ messages | tojson(indent=2, sort_keys=True) }}",
    "JSON options": "{{ messages | tojson(ensure_ascii=True, separators=(',', ':')) }}",
    "generation block": EACH
    + "{% generation %}{% set x = m.content %}{{ x }}{% endgeneration %}{{ x }}{% endfor %}",
    "special tokens": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token }}",
    "blocks on lines of their own": EACH + "\n  {% if true %}\n{{ m.role }}\n  {% endif %}\n{% endfor %}\n",
    "namespaces": "{% set ns = namespace({'n': 0}, k=1) %}"
    + EACH
    + "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "dict": "{{ dict(a=1, **{'b': 2}) }}{{ dict.fromkeys(['x'], 0) }}{{ dict([(1, 2)]) }}",
    "documents": "{% for d in documents or [] %}{{ d.title ~ d.text }}{% endfor %}{{ tools }}{{ extra }}",
    "dates": "{{ strftime_now('%Y') }}{{ strftime_now(format='%m') }}",
    "what is missing": EACH
    + "{{ m.nothing }}{{ m.get('nothing', 'x') }}{{ nothing is defined }}{% endfor %}",
    "all of a message": EACH + "{{ m }}{{ m.items() | list }}{% endfor %}",
    "ChatML": CHATML_TEMPLATE,
    "GLM-4.6": GLM_4_6_TEMPLATE,
    "GLM-4.7": GLM_4_7_TEMPLATE,
}
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "tools": some.tools,
        "documents": st.lists(st.fixed_dictionaries({"title": some.texts, "text": some.texts}), max_size=2),
        "enable_thinking": st.booleans(),
        "clear_thinking": st.booleans(),
        "add_generation_prompt": st.booleans(),
        "extra": some.json_values,
    },
)


@pytest.fixture(scope="module")
def render_as_transformers():
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), bos_token="<b>", eos_token="<e>"
    )

    def render(source, messages, add_generation_prompt=True, **arguments):
        if arguments.get("continue_final_message"):
            add_generation_prompt = False
        return tokenizer.apply_chat_template(
            messages,
            chat_template=source,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **arguments,
        )

    return render


def ours(source, messages, **arguments):
    return ChatTemplate(source, {"bos_token": "<b>", "eos_token": "<e>"}).render(messages, **arguments)


@pytest.mark.parametrize("name", some.REAL)
@settings(deadline=None)
@given(messages=some.conversations(), arguments=ARGUMENTS)
def test_real_templates(render_as_transformers, name, messages, arguments):
    source = some.real_source(name)
    assert ours(source, messages, **arguments) == render_as_transformers(source, messages, **arguments)


@pytest.mark.parametrize("source", OWN.values(), ids=OWN)
@settings(deadline=None)
@given(messages=some.conversations(contents=some.texts), arguments=ARGUMENTS)
def test_what_templates_may_use(render_as_transformers, source, messages, arguments):
    assert ours(source, messages, **arguments) == render_as_transformers(source, messages, **arguments)


@pytest.mark.parametrize(
    ("name", "fallback"), [(some.REAL[0], GLM_4_6_TEMPLATE), (some.REAL[1], GLM_4_7_TEMPLATE)]
)
@settings(deadline=None)
@given(messages=some.conversations(), arguments=ARGUMENTS)
def test_the_formats_for_files_without_a_template_are_those_of_the_real_ones(
    name, fallback, messages, arguments
):
    assert ours(fallback, messages, **arguments) == ours(some.real_source(name), messages, **arguments)


@pytest.mark.parametrize(
    ("name", "file_name", "source"),
    [
        ("GLM-4.6", "x.gguf", GLM_4_6_TEMPLATE),
        ("Glm 4.5 Air", "x.gguf", GLM_4_6_TEMPLATE),
        ("GLM-4.7", "x.gguf", GLM_4_7_TEMPLATE),
        ("GLM-4.7-Flash", "x.gguf", GLM_4_7_TEMPLATE),
        ("Model", "zai-org_GLM-4.7-Q4_K_M.gguf", GLM_4_7_TEMPLATE),
        (None, "glm4_7.gguf", GLM_4_7_TEMPLATE),
        ("GLM-4-9B", "x.gguf", GLM_4_6_TEMPLATE),
        ("GLM-130B", "x.gguf", GLM_4_6_TEMPLATE),
        (None, "x.gguf", GLM_4_6_TEMPLATE),
    ],
)
def test_the_format_of_a_glm_file_without_a_template_follows_its_name(small, name, file_name, source):
    file = SimpleNamespace(metadata={"general.name": name}, path=small.path.with_name(file_name))
    assert template_of(file, small.tokenizer).source == source


def test_special_tokens_that_the_file_names_are_given_to_the_template(tmp_path):
    write_byte_pairs(tmp_path / "v.gguf", ["a", "<b>", "<e>", "<p>"], [], bos=1, eos=2, padding=3, unknown=99)
    opened = open_gguf(tmp_path / "v.gguf")
    template = "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}"
    file = SimpleNamespace(
        metadata={**opened.metadata, "tokenizer.chat_template": template}, path=opened.path
    )
    assert template_of(file, load_tokenizer(opened)).render([USER]) == "<b><e><p>"


@pytest.mark.parametrize("template", (GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE), ids=("4.6", "4.7"))
@pytest.mark.parametrize("text", ('{"city": "Köln", "days": 2}', ' {"city":"Köln","days":2}\n'))
def test_arguments_may_be_json_in_a_string_as_openai_has_them(template, text):
    def with_arguments(arguments):
        function = {"name": "weather", "arguments": arguments}
        return [USER, {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}]

    messages = with_arguments(text)
    assert ours(template, messages) == ours(template, with_arguments({"city": "Köln", "days": 2}))
    assert messages == with_arguments(text)


@pytest.mark.parametrize("name", some.REAL)
@pytest.mark.parametrize(
    "function",
    [{}, *({"arguments": nothing} for nothing in (None, "", " ", "{}", "null", " null\n"))],
)
def test_a_call_may_have_no_arguments(name, function):
    calls = [{"function": {"name": "now", **function}}]
    assert "<tool_call>now" in ours(
        some.real_source(name), [USER, {"role": "assistant", "tool_calls": calls}]
    )


@pytest.mark.parametrize("arguments", ("{", "[1]", '"x"', [1], [], 5, 0, False, "[" * 100_000))
def test_arguments_that_are_no_object_are_refused_by_name(arguments):
    calls = [{"function": {"name": "weather", "arguments": arguments}}]
    with pytest.raises(GlmqError, match=r"message 2: the arguments of the call of weather are no"):
        ours(GLM_4_6_TEMPLATE, [USER, {"role": "assistant", "tool_calls": calls}])


def test_keys_without_a_value_are_as_if_missing():
    messages = [USER, {"role": "assistant", "content": None, "tool_calls": None, "reasoning_content": None}]
    assert ours("{{ messages[1] }}", messages) == "{'role': 'assistant'}"


@pytest.mark.parametrize("key", ("thinking", "reasoning"))
def test_thinking_may_have_its_other_names(key):
    messages = [USER, {"role": "assistant", "content": "Hello", key: "so"}]
    assert "<think>so</think>" in ours(GLM_4_6_TEMPLATE, messages)


def test_the_switch_in_a_message_is_not_shown_to_the_template():
    messages = [{**USER, "thinking": False}]
    assert ours("{{ messages[0] }}", messages) == str(USER)
    assert messages == [{**USER, "thinking": False}]


def test_templates_meet_plain_data_only():
    @dataclasses.dataclass
    class Part:
        type: str
        text: str

    class Call(str):
        def secret(self):
            return "secret"

    class Message:
        def model_dump(self):
            return {"role": Call("user"), "content": [Part("text", "hi")], "n": np.int64(3)}

    assert ours("{{ messages[0] }}", [Message()]) == str({"role": "user", "content": "hi", "n": 3})
    assert ours("{{ x.secret is defined }}", [USER], x=Call("a")) == "False"


@pytest.mark.parametrize("value", (b"hi", object(), {1, 2}, np.zeros(2)))
def test_what_is_no_data_is_refused_by_its_type(value):
    for message in ({"role": "user", "content": value}, {**USER, "more": [{"x": value}]}):
        with pytest.raises(GlmqError, match=f"message 2 holds an object of the type {type(value).__name__}"):
            ours(GLM_4_6_TEMPLATE, [USER, message])


def test_data_without_an_end_is_refused():
    message = dict(USER)
    message["self"] = message
    with pytest.raises(GlmqError, match="message 1 is nested too deeply"):
        ours(GLM_4_6_TEMPLATE, [message])


@pytest.mark.parametrize("name", some.REAL)
@pytest.mark.parametrize("content", ("The sun ", "The sun\n", "The", [{"type": "text", "text": "The "}]))
@pytest.mark.parametrize("key", (True, "content", "reasoning_content"))
def test_the_last_message_may_be_left_open_for_the_model_to_continue(
    render_as_transformers, name, content, key
):
    source = some.real_source(name)
    answer = {"role": "assistant", "content": content, "reasoning_content": "It is "}
    if key == "reasoning_content":
        answer |= {"content": "", "reasoning_content": content if isinstance(content, str) else "so "}
    text = ours(source, [USER, answer], continue_final_message=key)
    assert text.endswith(("The sun", "The", "so"))
    assert text == render_as_transformers(source, [USER, answer], continue_final_message=key)


@pytest.mark.parametrize(
    ("source", "messages"),
    [
        (EACH + "{{ m.content }}{% endfor %}", [{"role": "assistant"}]),
        (EACH + "{{ m.content }}{% endfor %}", []),
        ("nothing", [{"role": "assistant", "content": "x"}]),
        (EACH + "{{ m.content[:2] }}{% endfor %}", [{"role": "assistant", "content": "xyz"}]),
    ],
)
def test_a_message_that_cannot_be_continued_is_refused(source, messages):
    with pytest.raises(GlmqError, match="continued"):
        ours(source, messages, continue_final_message=True)


def test_a_template_that_refuses_says_so_in_one_line():
    with pytest.raises(GlmqError, match="roles must alternate$"):
        ours("{{ raise_exception('roles\n must alternate') }}", [USER])


@pytest.mark.parametrize(
    "source", ("{% for %}", "{{ 1 + }}", "{% if true %}", "{{ x | unheard_of }}", "{{ '")
)
def test_a_broken_template_is_refused_in_one_line(source):
    with pytest.raises(GlmqError, match="cannot be read") as refusal:
        ChatTemplate(source)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ dict.update(messages[0], a=1) }}",
        "{{ dict.mro() }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ namespace(__init__=1) }}",
        "{{ 1 // 0 }}",
        "{{ messages[0]['content'] + 1 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_what_a_template_must_not_do_ends_with_one_line(source):
    with pytest.raises(GlmqError, match="refuses") as refusal:
        ours(source, [USER])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("messages", ([1], ["x"], [None], [{"role": "assistant", "tool_calls": 3}]))
def test_messages_without_their_form_are_refused(messages):
    with pytest.raises(GlmqError, match="message 1"):
        ours(GLM_4_6_TEMPLATE, messages)
