"""Chats that go on in another process: text and state out of a session file."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import GlmqError

import glmq

from .small_models import write_glm4moe
from .talks import n_cached, new_talk, piped_chat, prompts_in
from .test_command_line import refused

REPLIES = [f"thought {i}</think>answer {i}" for i in range(1, 6)]


@pytest.fixture
def session(tmp_path):
    return tmp_path / "chat.session"


def chat(tmp_path, model, session, *lines, first=0, options=()):
    """(standard output, standard error) of a chat that keeps a session."""
    replies = REPLIES[first:]
    code, out, err = piped_chat(tmp_path, model, replies, "--session", session, *options, lines=lines)
    assert code == 0, err
    return out, err


def test_text_and_state_are_there_in_the_next_process(tmp_path, glm_4_7_path, session):
    out, err = chat(tmp_path, glm_4_7_path, session, "one", "two")
    assert (out, "Going on" in err) == ("answer 1\nanswer 2\n", False)
    out, err = chat(tmp_path, glm_4_7_path, session, "three", first=2)
    assert out == "answer 3\n"
    assert "Going on with 2 turns, context " in err
    earlier, later = prompts_in(tmp_path)[1:]
    assert later.startswith(earlier.removesuffix("<think>"))
    assert n_cached(err) == [number_of_tokens(earlier) - 1]


def number_of_tokens(prompt):
    """Of a prompt of the small models: a token each for tags, and for other characters."""
    from .small_models import TAGS
    from .vocabulary_files import GLM_SPECIAL

    for tag in (*TAGS, *GLM_SPECIAL):
        prompt = prompt.replace(tag, "x")
    return len(prompt)


def test_with_kept_thinking_all_of_the_state_is_used(tmp_path, glm_4_7_path, session):
    kept = ("--think-keep",)
    chat(tmp_path, glm_4_7_path, session, "one", options=kept)
    _, err = chat(tmp_path, glm_4_7_path, session, "two", first=1, options=kept)
    assert n_cached(err) == [number_of_tokens(prompts_in(tmp_path)[0] + REPLIES[0]) - 1]


@pytest.fixture
def other_model(tmp_path):
    return write_glm4moe(tmp_path / "other.gguf", "Q8_0", name="GLM-4.7", seed=5, n_ctx=8192)


def test_a_session_of_another_model_is_refused_and_its_messages_can_be_loaded(
    tmp_path, monkeypatch, glm_4_7_path, other_model, session
):
    chat(tmp_path, glm_4_7_path, session, "one")
    before = session.read_bytes()
    complaint = refused("chat", other_model, "--session", session, stdin="two\n")
    assert f"{session} was saved with another model, of the architecture glm4moe" in complaint
    assert f"/load {session} takes up its messages alone" in complaint
    assert session.read_bytes() == before
    with glmq.load(other_model) as model:
        talk = new_talk(monkeypatch, model, REPLIES[1:])
        assert talk.say(f"/load {session}") == f"Loaded 2 messages from {session}."
        talk.say("two")
        assert "answer 1" in talk.prompts[-1]


def test_a_chat_that_changes_its_model_keeps_the_session_with_the_new_one(
    monkeypatch, glm_4_7, other_model, session
):
    talk = new_talk(monkeypatch, glm_4_7, REPLIES, session=session)
    told = talk.say("one", f"/model {other_model}")
    assert f"{session} is kept with this model from now on." in told
    talk.say("two")
    talk.chat.kept.close()
    with glmq.load(other_model) as model:
        restored = model.restore_session(session)
        assert restored.reason is None and len(restored.extra["messages"]) == 4


def test_a_file_that_is_no_session_is_refused_and_left_alone(glm_4_7_path, session):
    session.write_bytes(b"precious" * 1000)
    assert str(session) in refused("chat", glm_4_7_path, "--session", session, stdin="hi\n")
    assert session.read_bytes() == b"precious" * 1000


def test_damaged_state_is_read_again_and_told(tmp_path, monkeypatch, glm_4_7, session, capsys):
    talk = new_talk(monkeypatch, glm_4_7, REPLIES, session=session)
    talk.say("one", "two " * 20)
    talk.chat.kept.close()
    data = bytearray(session.read_bytes())
    key = talk.chat._session.sequence.pages[0].bytes.tobytes()[:64]
    data[data.index(key)] ^= 1
    session.write_bytes(data)
    talk = new_talk(monkeypatch, glm_4_7, REPLIES[2:], session=session)
    talk.restore_session()
    assert "is damaged after 0 tokens; the rest is read again" in capsys.readouterr().err
    talk.say("three")
    assert talk.messages[-1]["content"] == "answer 3" and talk.chat.conversation.n_turns == 3


def test_a_session_of_another_program_is_not_taken_for_a_chat(monkeypatch, glm_4_7, session):
    for extra in ({}, {"messages": "none"}, {"messages": [{"role": "dancer"}]}):
        glm_4_7.session().save(session, extra, force=True)
        talk = new_talk(monkeypatch, glm_4_7, [], session=session)
        with pytest.raises(GlmqError, match="holds no conversation"):
            talk.restore_session()
        talk.chat.kept.close()


def test_a_new_system_message_replaces_that_of_the_session(tmp_path, glm_4_7_path, session):
    chat(tmp_path, glm_4_7_path, session, "one", options=("--system", "Be brief."))
    chat(tmp_path, glm_4_7_path, session, "two", first=1)
    chat(tmp_path, glm_4_7_path, session, "three", first=2, options=("--system", "Be long."))
    second, third = prompts_in(tmp_path)[1:]
    assert "Be brief." in second
    assert "Be long." in third and "Be brief." not in third


def test_commands_at_the_end_are_kept_too(tmp_path, glm_4_7_path, session):
    chat(tmp_path, glm_4_7_path, session, "one", "two", "/undo")
    _, err = chat(tmp_path, glm_4_7_path, session, "three", first=2)
    assert "Going on with 1 turn," in err
    assert "answer 2" not in prompts_in(tmp_path)[-1]


def test_a_session_can_begin_while_the_chat_goes_on(monkeypatch, glm_4_7, session):
    talk = new_talk(monkeypatch, glm_4_7, REPLIES)
    assert "kept in" in talk.say("one", f"/session {session}")
    talk.say("two")
    with pytest.raises(GlmqError, match="there is no folder"):
        talk.say("/session /no/such/folder/file")
    assert "kept in" in talk.say("three", f"/session {session.parent}/./{session.name}")
    assert talk.chat.kept.path == session
    talk.chat.kept.close()
    other = new_talk(monkeypatch, glm_4_7, REPLIES, session=session)
    other.restore_session()
    assert other.chat.messages == talk.chat.messages


def test_an_earlier_session_is_not_overwritten_by_command(monkeypatch, glm_4_7, session):
    first = new_talk(monkeypatch, glm_4_7, REPLIES, session=session)
    first.say("one")
    talk = new_talk(monkeypatch, glm_4_7, REPLIES)
    with pytest.raises(GlmqError, match="is in use by another conversation of this program"):
        talk.say("two", f"/session {session}")
    first.chat.kept.close()
    with pytest.raises(GlmqError, match="by --session when you start, or overwrite it with --force"):
        talk.say(f"/session {session}")
    later = new_talk(monkeypatch, glm_4_7, [], session=session)
    later.restore_session()
    assert later.messages[0]["content"] == "one"
    later.chat.kept.close()
    talk.say(f"/session --force {session}")
    talk.chat.kept.close()
    later = new_talk(monkeypatch, glm_4_7, [], session=session)
    later.restore_session()
    assert later.messages[0]["content"] == "two"
