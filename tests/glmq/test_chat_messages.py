"""What callers say in messages, tools and arguments reaches the model, or is refused in one line."""

from __future__ import annotations

import json

import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.chat.conversation_files import load_conversation
from glmq.chat.glm_template import GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE
from glmq.chat.prompt_messages import rendered_prompt
from glmq.chat.template import CHATML_TEMPLATE, ChatTemplate

from . import conversations as some
from .small_models import write_glm4moe
from .test_tool_results import calling, result

USER = {"role": "user", "content": "Hello"}
ADDS_STRINGS = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
PRINTS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
TOOL = {"type": "function", "function": {"name": "f", "description": "x", "parameters": {"type": "object"}}}


@pytest.fixture
def prompt(small):
    """The text of a prompt, as the model reads it."""

    def text(messages, source=GLM_4_7_TEMPLATE, tools=()):
        return some_text(rendered_prompt(ChatTemplate(source), small.tokenizer, messages, list(tools)).text)

    return text


def some_text(text):
    from glmq.chat.quoted_tokens import unquoted

    return unquoted(text)


def sources():
    return [GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE, CHATML_TEMPLATE, ADDS_STRINGS, PRINTS, *some.REAL]


@pytest.mark.parametrize("source", sources(), ids=lambda source: source[:20])
def test_parts_are_text_in_every_template(prompt, source):
    source = some.real_source(source) if source in some.REAL else source

    def conversation(form):
        return [
            {"role": "system", "content": form("Be brief.")},
            {"role": "user", "content": form("What is it?")},
            {**calling("a"), "content": form("I look.")},
            {**result("", "a"), "content": form("sunny")},
            {"role": "assistant", "content": form("Sunny.")},
            {"role": "user", "content": form("Thanks")},
        ]

    plain = prompt(conversation(str), source)
    assert "sunny" in plain
    forms = (
        lambda text: [{"type": "text", "text": text}],
        lambda text: [{"type": "input_text", "text": text[:2]}, {"type": "output_text", "text": text[2:]}],
        lambda text: [text[:3], {"type": "text", "text": text[3:], "cache_control": {"type": "ephemeral"}}],
        lambda text: ({"type": "text", "text": ""}, text),
    )
    for form in forms:
        assert prompt(conversation(form), source) == plain


def test_an_empty_list_of_parts_is_an_empty_text(prompt):
    assert prompt([{"role": "user", "content": []}], PRINTS) == "user: \n"


def test_a_refusal_is_what_was_said(prompt):
    refused = [
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": "", "refusal": "No."},
    ]
    for message in refused:
        assert prompt([USER, message], PRINTS) == "user: Hello\nassistant: No.\n"


@pytest.mark.parametrize("source", sources(), ids=lambda source: source[:20])
def test_the_developer_is_the_system(prompt, source):
    source = some.real_source(source) if source in some.REAL else source
    system, developer = (
        prompt([{"role": role, "content": "Be brief."}, USER], source) for role in ("system", "developer")
    )
    assert developer == system and "Be brief." in developer


REFUSED = (
    ([USER, {"role": "critic", "content": "x"}], "message 2 has no role of"),
    ([USER, {"content": "x"}], "message 2 has no role of"),
    ([{"role": "user"}], r"message 1 \(user\) has no content"),
    ([{"role": "user", "content": None}], r"message 1 \(user\) has no content"),
    ([USER, {"role": "assistant", "content": None}], r"message 2 \(assistant\) has no content"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "image_url"),
    ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "input_audio"),
    ([{"role": "user", "content": [{"type": "video"}, "x"]}], "video"),
    ([{"role": "user", "content": 5}], "no content that is a text"),
    ([{"role": "user", "content": "x", "images": ["x"]}], "images"),
    ([USER, calling("a", "b"), result("x", "c")], "the call c"),
    ([USER, result("x", "a")], "answers no tool call"),
    ([USER, {"role": "assistant", "content": "", "tool_calls": [{"function": {"arguments": "{}"}}]}], "name"),
    (
        [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
        "arguments of the call of f are not JSON",
    ),
    ([5], "message 1 is no object"),
)


@pytest.mark.parametrize(("messages", "told"), REFUSED)
def test_chat_refuses_what_load_refuses_with_the_same_words(small, tmp_path, messages, told):
    with pytest.raises(GlmqError, match=told) as in_chat:
        small.chat(messages)
    (tmp_path / "talk.json").write_text(json.dumps(messages))
    with pytest.raises(GlmqError) as in_load:
        load_conversation(tmp_path / "talk.json")
    assert str(in_load.value).endswith(str(in_chat.value)) and "\n" not in str(in_chat.value)


@pytest.mark.parametrize("messages", ("Hello", b"Hello", USER, 5, None))
def test_messages_are_a_list(small, messages):
    with pytest.raises(GlmqError, match="it must be a list of objects with role and content"):
        small.chat(messages)


def test_without_any_message_there_is_nothing_to_answer(small):
    with pytest.raises(GlmqError, match="there are no messages"):
        small.chat([])


def test_messages_may_be_any_sequence_of_data(small):
    plain = small.chat([USER]).generation.prompt
    assert small.chat((USER,)).generation.prompt == plain
    assert small.chat(iter([USER])).generation.prompt == plain


@pytest.mark.parametrize(
    "misspelt",
    ({"max_token": 3}, {"temprature": 0.5}, {"enable_thinking": False}, {"thinkng": False}, {"tool": []}),
)
def test_a_misspelt_argument_is_a_type_error(small, small_path, misspelt):
    [name] = misspelt
    for call in (
        lambda: small.chat([USER], **misspelt),
        lambda: small.generate("x", **misspelt),
        lambda: glmq.load(small_path, **misspelt),
        lambda: glmq.Sampling(**misspelt),
        lambda: small.session(**misspelt),
    ):
        with pytest.raises(TypeError, match=name):
            call()


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        ({"max_tokens": "3"}, "max_tokens is '3' "),
        ({"max_tokens": 3.0}, "max_tokens is 3.0 "),
        ({"max_tokens": True}, "max_tokens is True "),
        ({"stop": 5}, "stop is 5 "),
        ({"stop": ["a", 5]}, r"stop is \['a', 5\] "),
        ({"stop": {"a": 1}}, "stop is "),
        ({"think_budget": "x"}, "think_budget is 'x' "),
        ({"thinking": "no"}, "thinking is 'no' "),
        ({"preserve_thinking": 1}, "preserve_thinking is 1 "),
        ({"strict_tools": "yes"}, "strict_tools is 'yes' "),
        ({"sampling": {"temperature": 0}}, r"sampling is .*glmq\.Sampling"),
        ({"session": "chat.session"}, "session is 'chat.session' "),
        ({"progress": 5}, "progress is 5 "),
        ({"add_generation_prompt": "x"}, "add_generation_prompt is 'x' "),
        ({"constraint": "[a-z]+"}, "constraint is "),
        ({"tools": {"name": "f"}}, "tools is a dict; it must be a list"),
        ({"tools": "f"}, "tools is a str; it must be a list"),
        ({"template_arguments": ["x"]}, "template_arguments is "),
        ({"template_arguments": {5: "x"}}, "template_arguments is "),
        ({"template_arguments": {"tools": []}}, "template_arguments holds tools"),
        ({"template_arguments": {"thinking": True}}, "template_arguments holds thinking"),
    ),
)
def test_arguments_of_wrong_types_are_told_in_one_line(small, arguments, told):
    with pytest.raises(TypeError, match=told) as refusal:
        small.chat([USER], **arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        ({"max_tokens": 0}, "max_tokens is 0; it must be at least 1"),
        ({"max_tokens": -1}, "max_tokens is -1; it must be at least 1"),
        ({"think_budget": -1}, "think_budget is -1; it must be at least 0"),
        ({"tools": [5]}, "tool 1 is no object with a name"),
        ({"tools": [{"type": "function", "function": {}}]}, "tool 1 has no name"),
        ({"tools": [{"type": "web_search"}]}, "tool 1 is of the type web_search"),
        ({"tools": [TOOL, TOOL]}, "tools 1 and 2 have one name, f"),
        ({"tools": [{"name": "f", "parameters": []}]}, "tool 1, f, has parameters that are no JSON schema"),
        ({"tools": [{"name": "f", "description": 5}]}, "tool 1, f, has a description that is no text"),
        ({"tools": [{"name": "f", "parameters": {"x": b""}}]}, "tool 1 holds an object of the type bytes"),
    ),
)
def test_arguments_that_cannot_be_are_told_in_one_line(small, arguments, told):
    with pytest.raises(GlmqError, match=told):
        small.chat([USER], **arguments)


def test_a_negative_limit_is_no_limit_for_a_generation_either(small):
    with pytest.raises(GlmqError, match="max_tokens is -1; it must be at least 0"):
        small.generate("x", max_tokens=-1)
    with pytest.raises(TypeError, match="stop is 5"):
        small.generate("x", stop=5)


def test_template_arguments_reach_the_template(tmp_path):
    template = "{{ messages[0].content }} {{ mood }}{% if not enable_thinking %} quickly{% endif %}"
    path = write_glm4moe(tmp_path / "moody.gguf", "Q8_0", chat_template=template)
    with glmq.load(path) as model:
        answer = model.chat([USER], template_arguments={"mood": "gladly", "enable_thinking": False})
        assert model.detokenize(answer.generation.prompt) == "Hello gladly quickly"


def test_tools_that_a_template_does_not_tell_of_are_refused(tmp_path):
    path = write_glm4moe(tmp_path / "plain.gguf", "Q8_0", name="plain", chat_template=PRINTS)
    with glmq.load(path) as model:
        with pytest.raises(GlmqError, match="the model's chat template tells of no tools"):
            model.chat([USER], tools=[TOOL])
        assert model.chat([USER], tools=[]).generation.prompt == model.chat([USER]).generation.prompt


def test_templates_that_demand_a_system_message_may_know_tools(small):
    source = "{{ raise_exception('!') if messages[0].role != 'system' }}{{ tools }}"
    system = {"role": "system", "content": "x"}
    text = rendered_prompt(ChatTemplate(source), small.tokenizer, [system, USER], [TOOL]).text
    assert "'name': 'f'" in text


@pytest.mark.parametrize("tool", (TOOL, TOOL["function"], {"name": "f"}), ids=("full", "function", "name"))
def test_a_tool_may_be_the_function_alone(prompt, tool):
    assert json.dumps(tool) in prompt([USER], tools=[tool])


def test_the_prompt_of_a_turn_without_thinking_may_be_without_its_end(small):
    for source in (GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE):
        text = rendered_prompt(
            ChatTemplate(source), small.tokenizer, [USER], [], thinking=False, add_generation_prompt=False
        ).text
        assert text.removesuffix("/nothink").endswith("Hello")


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        ({"path": 5}, "path is 5 "),
        ({"path": None}, "path is None "),
        ({"n_ctx": "4096"}, "n_ctx is '4096' "),
        ({"n_ctx": 2.5}, "n_ctx is 2.5 "),
        ({"n_threads": "2"}, "n_threads is '2' "),
        ({"n_threads": 1.5}, "n_threads is 1.5 "),
        ({"cache_type": 8}, "cache_type is 8 "),
        ({"ram": [1]}, r"ram is \[1\] "),
        ({"progress": 5}, "progress is 5 "),
    ),
)
def test_loading_with_arguments_of_wrong_types_is_told_in_one_line(small_path, arguments, told):
    with pytest.raises(TypeError, match=told):
        glmq.load(**{"path": small_path, **arguments})


@pytest.mark.parametrize("ram", (0, -1, float("nan"), float("inf")))
def test_memory_that_cannot_be_is_refused(small_path, ram):
    with pytest.raises(GlmqError, match="ram is .*; it must be more than 0 bytes"):
        glmq.load(small_path, ram=ram)


@pytest.mark.parametrize("prompt", (5, None, ["a"], [1.5], b"x", {"a": 1}, [[1]]))
def test_a_prompt_is_a_text_or_token_ids(small, prompt):
    with pytest.raises(TypeError, match="prompt is .*; it must be a text or a list of token ids"):
        small.generate(prompt)


def test_the_context_of_a_session_is_a_number(small):
    for n_ctx in ("256", 2.5, True):
        with pytest.raises(TypeError, match="n_ctx is "):
            small.session(n_ctx)
