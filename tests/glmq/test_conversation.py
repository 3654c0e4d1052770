"""Conversations and the slash commands on them."""

from __future__ import annotations

import json

import pytest
from glmq_kernels.errors import UserError

from glmq.chat.conversation import Conversation, load_conversation
from glmq.cli import slash


@pytest.fixture
def conversation():
    talk = Conversation()
    talk.set_system("Be brief.")
    talk.add("user", "Grüß dich")
    talk.add("assistant", "Hello")
    return talk


def test_clearing_keeps_the_system_message(conversation):
    slash.run("/clear", conversation)
    assert conversation.messages == [{"role": "system", "content": "Be brief."}]


def test_the_system_message_is_shown_replaced_and_removed(conversation):
    assert slash.run("/system", conversation) == "Be brief."
    slash.run("/system  Be long. ", conversation)
    assert conversation.system == "Be long."
    assert len(conversation.messages) == 3
    slash.run("/system off", conversation)
    assert conversation.system is None
    assert conversation.messages[0]["role"] == "user"


def test_a_saved_conversation_is_loaded_as_it_was(conversation, tmp_path):
    slash.run(f"/save {tmp_path / 'talk.json'}", conversation)
    other = Conversation()
    slash.run(f"/load {tmp_path / 'talk.json'}", other)
    assert other.messages == conversation.messages
    assert [path.name for path in tmp_path.iterdir()] == ["talk.json"]


def test_a_plain_list_of_messages_is_loaded_too(tmp_path):
    messages = [{"role": "user", "content": "hi"}]
    (tmp_path / "list.json").write_text(json.dumps(messages))
    assert load_conversation(tmp_path / "list.json").messages == messages


@pytest.mark.parametrize(
    "content", ("{", "{}", '[{"role": "robot", "content": "x"}]', "[1]", '{"messages": 3}')
)
def test_files_that_hold_no_conversation_are_refused_and_nothing_is_lost(conversation, tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(UserError, match=r"bad\.json"):
        slash.run(f"/load {tmp_path / 'bad.json'}", conversation)
    assert len(conversation.messages) == 3


def test_saving_where_that_is_not_possible_is_refused(conversation, tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        slash.run(f"/save {tmp_path / 'no' / 'folder.json'}", conversation)


def test_help_names_every_command(conversation):
    text = slash.run("/help", conversation)
    assert all(name in text for name in slash.COMMANDS)


def test_an_unknown_command_is_refused_and_a_missing_file_name_too(conversation):
    with pytest.raises(UserError, match="/dance"):
        slash.run("/dance", conversation)
    with pytest.raises(UserError, match="/save FILE"):
        slash.run("/save", conversation)


def test_quit(conversation):
    with pytest.raises(slash.Quit):
        slash.run("/quit", conversation)
