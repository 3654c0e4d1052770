"""Conversations and the slash commands on them."""

from __future__ import annotations

import json

import pytest
from glmq_kernels.errors import UserError

from glmq.chat.conversation import Conversation, load_conversation
from glmq.cli import slash


class Talk:
    """A conversation with a model that is not there."""

    def __init__(self, conversation):
        self.conversation = conversation

    def statistics(self):
        return "All is well."


@pytest.fixture
def conversation():
    begun = Conversation()
    begun.set_system("Be brief.")
    begun.add("user", "Grüß dich")
    begun.add("assistant", "Hello")
    return begun


def run(line, conversation):
    return slash.run(line, Talk(conversation))


def test_clearing_keeps_the_system_message(conversation):
    run("/clear", conversation)
    assert conversation.messages == [{"role": "system", "content": "Be brief."}]


def test_the_system_message_is_shown_replaced_and_removed(conversation):
    assert run("/system", conversation) == "Be brief."
    run("/system  Be long. ", conversation)
    assert conversation.system == "Be long."
    assert len(conversation.messages) == 3
    run("/system off", conversation)
    assert conversation.system is None
    assert conversation.messages[0]["role"] == "user"


def test_a_saved_conversation_is_loaded_as_it_was(conversation, tmp_path):
    run(f"/save {tmp_path / 'talk.json'}", conversation)
    other = Conversation()
    run(f"/load {tmp_path / 'talk.json'}", other)
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
        run(f"/load {tmp_path / 'bad.json'}", conversation)
    assert len(conversation.messages) == 3


def test_saving_where_that_is_not_possible_is_refused(conversation, tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        run(f"/save {tmp_path / 'no' / 'folder.json'}", conversation)


def test_help_names_every_command(conversation):
    text = run("/help", conversation)
    assert all(name in text for name in slash.COMMANDS)


def test_an_unknown_command_is_refused_and_a_missing_file_name_too(conversation):
    with pytest.raises(UserError, match="/dance"):
        run("/dance", conversation)
    with pytest.raises(UserError, match="/save FILE"):
        run("/save", conversation)


def test_statistics_are_the_talks(conversation):
    assert run("/stats", conversation) == "All is well."


def test_quit(conversation):
    with pytest.raises(slash.Quit):
        run("/quit", conversation)
