"""Conversations in files: saved, loaded and exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import HealthCheck, given, settings
from markdown_it import MarkdownIt

from glmq.chat.conversation import Conversation
from glmq.chat.conversation_files import export_conversation, load_conversation, save_conversation
from glmq.chat.conversation_markdown import conversation_markdown
from glmq.chat.messages import check_messages

from . import conversations as some

USER = {"role": "user", "content": "hi"}


@pytest.fixture
def conversation():
    return Conversation(
        [{"role": "system", "content": "Be brief."}, USER, {"role": "assistant", "content": "Hello"}]
    )


def test_a_saved_conversation_is_loaded_as_it_was(conversation, tmp_path):
    save_conversation(conversation, tmp_path / "talk.json")
    assert load_conversation(tmp_path / "talk.json").messages == conversation.messages
    assert [path.name for path in tmp_path.iterdir()] == ["talk.json"]


def test_a_plain_list_of_messages_is_loaded_too(tmp_path):
    messages = [{"role": "user", "content": "hi"}]
    (tmp_path / "list.json").write_text(json.dumps(messages))
    assert load_conversation(tmp_path / "list.json").messages == messages


@pytest.mark.parametrize(
    "content", ("{", "{}", '[{"role": "robot", "content": "x"}]', "[1]", '{"messages": 3}', "[" * 10000)
)
def test_files_that_hold_no_conversation_are_refused(tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(GlmqError, match=r"bad\.json"):
        load_conversation(tmp_path / "bad.json")


def test_saving_where_that_is_not_possible_is_refused(conversation, tmp_path):
    with pytest.raises(GlmqError, match="cannot be written"):
        save_conversation(conversation, tmp_path / "no" / "folder.json")


@pytest.mark.parametrize("name", (".", "..", "/"))
def test_a_folder_is_no_file_to_save_to(conversation, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GlmqError, match="cannot be written"):
        save_conversation(conversation, Path(name))
    assert list(tmp_path.iterdir()) == []


CALL = {"function": {"name": "f", "arguments": {"x": 1}}}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "sun"}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [USER, {**USER, "thinking": False}],
        [USER, {**CALLING, "tool_calls": [CALL, CALL]}, RESULT, RESULT],
        [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
        [USER, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"}]}],
        [USER, {"role": "assistant", "content": "", "reasoning_content": "so"}],
        [{"role": "user", "content": ["a", {"type": "text", "text": "b"}]}],
        [{"role": "developer", "content": [{"type": "input_text", "text": "b"}]}, USER],
        [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
        [USER, {"role": "assistant", "content": None, "refusal": "No.", "tool_calls": None}],
        [USER, {"role": "assistant", "content": None, "reasoning": "so", "tool_calls": []}],
        [{"role": "user", "content": []}],
    ],
)
def test_whole_messages_are_taken(messages):
    assert check_messages(messages) == messages


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"content": "x"}, "message 2 has no role of system, user, assistant, tool, developer$"),
        ({"role": "robot", "content": "x"}, "message 2 has no role of .*, but robot"),
        ({"role": "function", "name": "f", "content": "x"}, "message 2 has no role of .*, but function"),
        ({"role": ["user"], "content": "x"}, "message 2 has no role"),
        ({"role": "user"}, r"message 2 \(user\) has no content"),
        ({"role": "user", "content": None}, r"message 2 \(user\) has no content"),
        ({"role": "user", "content": 5}, r"message 2 \(user\) has no content that is a text"),
        ({"role": "assistant"}, r"message 2 \(assistant\) has no content"),
        (
            {"role": "user", "content": [{"type": "image_url"}]},
            "of the type image_url; GLM models read text only",
        ),
        ({"role": "user", "content": [5]}, "a part of the type None"),
        ({"role": "user", "content": [{"text": "x"}]}, "a part of the type None"),
        ({"role": "user", "content": [{"type": ["text"], "text": "x"}]}, "a part of the type"),
        ({"role": "user", "content": [{"type": "text"}]}, "a part of the type text whose text is no text"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "of the type input_image"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "of the type input_audio"),
        ({"role": "user", "content": [{"type": "file"}]}, "of the type file"),
        ({"role": "tool", "content": [{"type": "image"}]}, "of the type image"),
        ({"role": "user", "content": "x", "images": ["R0lG"]}, "holds images; GLM models read text only"),
        ({"role": "assistant", "content": "x", "audio": {"id": "1"}}, "holds audio"),
        ({"role": "user", "content": {"type": "text", "text": "x"}}, "no content that is a text"),
        ({"role": "user", "content": "x", "name": 5}, "a name that is no text"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "which only an assistant's message has"),
        ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "has a function_call"),
        ({"role": "assistant", "content": "x", "thinking": ["so"]}, "a thinking that is no text"),
        ({"role": "assistant", "content": "x", "reasoning": {}}, "a reasoning that is no text"),
        (
            {"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]},
            "a tool call of the type custom",
        ),
        ({"role": "assistant", "tool_calls": [{**CALL, "id": 5}]}, "an id that is no text"),
        ({"role": "user", "content": "x", "thinking": "no"}, "thinking that is neither true nor false"),
        ({"role": "assistant", "content": "x", "reasoning_content": 5}, "reasoning_content that is no text"),
        ({"role": "assistant", "content": "x", "tool_calls": {}}, "tool_calls that are no list"),
        ({"role": "assistant", "content": "x", "tool_calls": [5]}, "a tool call without a name"),
        (
            {"role": "assistant", "content": "x", "tool_calls": [{"function": {}}]},
            "a tool call without a name",
        ),
        ({"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}, "call of f are not JSON"),
        (
            {"role": "assistant", "tool_calls": [{"name": "f", "arguments": [1]}]},
            "call of f are no JSON object",
        ),
        (RESULT, r"message 2 \(tool\) answers no tool call"),
        ({**RESULT, "tool_call_id": 5}, "tool_call_id that is no text"),
    ],
)
def test_half_messages_are_refused_by_name(tmp_path, message, complaint):
    (tmp_path / "half.json").write_text(json.dumps([USER, message]))
    with pytest.raises(GlmqError, match=complaint) as refusal:
        load_conversation(tmp_path / "half.json")
    assert "half.json" in str(refusal.value)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=some.conversations())
def test_every_conversation_is_loaded_as_it_was_saved(tmp_path, messages):
    save_conversation(Conversation(messages), tmp_path / "talk.json")
    assert load_conversation(tmp_path / "talk.json").messages == messages


def test_half_a_character_is_saved_too(tmp_path):
    talk = Conversation([{"role": "user", "content": "\ud83d"}])
    save_conversation(talk, tmp_path / "talk.json")
    assert load_conversation(tmp_path / "talk.json").messages == talk.messages


def test_exported_json_is_what_openais_api_takes(tmp_path):
    calls = [CALL, {"id": "mine", **CALL}]
    talk = Conversation(
        [
            {**USER, "thinking": False},
            {**CALLING, "tool_calls": calls},
            RESULT,
            {**RESULT, "tool_call_id": "mine"},
        ]
    )
    export_conversation(talk, tmp_path / "talk.json")
    user, calling, first, second = json.loads((tmp_path / "talk.json").read_text())
    assert user == USER
    function = {"name": "f", "arguments": '{"x": 1}'}
    assert calling["tool_calls"] == [
        {"id": "call_2_1", "type": "function", "function": function},
        {"id": "mine", "type": "function", "function": function},
    ]
    assert (first["tool_call_id"], second["tool_call_id"]) == ("call_2_1", "mine")
    assert load_conversation(tmp_path / "talk.json").n_turns == 1


def test_an_export_under_another_name_is_refused(conversation, tmp_path):
    with pytest.raises(GlmqError, match=r"neither \.md"):
        export_conversation(conversation, tmp_path / "talk.txt")
    assert list(tmp_path.iterdir()) == []


def test_markdown_has_a_heading_for_each_message_folds_thinking_and_fences_calls(tmp_path):
    thinking = {**CALLING, "content": "I look.", "reasoning_content": "The tool\n\nknows."}
    talk = Conversation([{"role": "system", "content": "Be brief."}, USER, thinking, {**RESULT, "name": "f"}])
    export_conversation(talk, tmp_path / "talk.md")
    assert (
        (tmp_path / "talk.md").read_text()
        == """\
# Conversation

## System

Be brief.

## User

hi

## Assistant

<details>
<summary>Thinking</summary>

The tool

knows.

</details>

I look.

Calls `f`:

```json
{
  "x": 1
}
```

## Tool result: f

```
sun
```
"""
    )


def test_markdown_knows_all_roles_and_all_names_of_thinking():
    text = conversation_markdown(
        [
            {"role": "developer", "content": "Be brief."},
            {"role": "assistant", "content": None, "refusal": "No.", "reasoning": "So."},
        ]
    )
    assert "## System\n\nBe brief." in text and "So." in text and "No." in text


HOSTILE = (
    "```python\nprint(1)",
    "~~~~\n~~~\n```",
    "````md\n```\n",
    "```\n`````\n# after",
    "</details>",
    "<details><summary>x",
    "<!-- a comment",
    "<script>",
    "``` `not a fence` ```",
    "```\n</details>\n```",
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("role", ("user", "assistant", "reasoning", "tool", "call"))
def test_nothing_in_a_message_swallows_what_follows_it(text, role):
    if role == "reasoning":
        message = {"role": "assistant", "content": "", "reasoning_content": text}
    elif role == "call":
        message = {**CALLING, "tool_calls": [{"name": "f", "arguments": {"x": text}}]}
    else:
        message = {"role": role, "content": text}
    html = MarkdownIt("commonmark").render(
        conversation_markdown([message, {"role": "user", "content": "next"}])
    )
    assert html.rstrip().endswith("<h2>User</h2>\n<p>next</p>")
    assert html.count("<details>") == html.count("</details>") == (role == "reasoning")
