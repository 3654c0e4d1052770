"""Commands of a chat that read and write files: conversations, and texts that go with a message."""

from __future__ import annotations

import json
import os

import pytest
from glmq_kernels.errors import GlmqError

from .told_by_commands import contents, refused


def test_save_and_load(talk, tmp_path):
    path = tmp_path / "talk of today.json"
    talk.say("one", "/nothink two")
    assert talk.say(f"/save {path}") == f"Saved 4 messages to {path}."
    before = list(talk.chat.messages)
    talk.say("/clear", f"/load {path}")
    assert talk.chat.messages == before
    assert "cannot be written" in refused(talk, f"/save {tmp_path}/no/such/folder.json")
    assert "cannot be read" in refused(talk, "/load /no/such/file")
    assert "cannot be read" in refused(talk, "/load ~nobody-of-this-name/file")
    path.write_text("nonsense")
    assert "is not JSON" in refused(talk, f"/load {path}")
    assert refused(talk, "/load") == "name a file: /load FILE"
    assert talk.chat.messages == before


def test_export(talk, tmp_path):
    talk.say("one")
    for name in ("talk.md", "talk.json"):
        assert talk.say(f"/export {tmp_path / name}") == f"Wrote 2 messages to {tmp_path / name}."
    assert "## User\n\none\n\n## Assistant\n\nanswer 1" in (tmp_path / "talk.md").read_text()
    assert json.loads((tmp_path / "talk.json").read_text()) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "answer 1"},
    ]
    assert ".md" in refused(talk, f"/export {tmp_path}/talk.pdf")


def test_save_overwrites_saved_conversations_and_nothing_else_unasked(talk, tmp_path):
    path = tmp_path / "talk.json"
    talk.say("one", f"/save {path}", "two", f"/save {path}")
    assert len(json.loads(path.read_text())["messages"]) == 4
    for content in (b"\x89PNG", path.read_bytes().replace(b'"messages"', b'"massages"'), b'{"messages": []}'):
        path.write_bytes(content)
        complaint = refused(talk, f"/save {path}")
        assert complaint == (
            f"{path} is there already and is not a saved conversation; name another file,"
            " or overwrite it with --force"
        )
        assert path.read_bytes() == content
    for command in (f"/save --force {path}", f"/save {path} --force"):
        path.write_bytes(b"\x89PNG")
        assert talk.say(command) == f"Saved 4 messages to {path}."
    assert len(json.loads(path.read_text())["messages"]) == 4


def test_export_overwrites_what_it_wrote_itself(talk, tmp_path):
    markdown, openai = tmp_path / "talk.md", tmp_path / "talk.json"
    talk.say("one", f"/export {markdown}", f"/export {openai}")
    talk.say("two", "/undo", "two", f"/export {markdown}", f"/export {openai}")
    assert "two" in markdown.read_text() and "two" in openai.read_text()
    markdown.write_text(f"{markdown.read_text()}A note of mine.")
    assert "--force" in refused(talk, f"/export {markdown}")
    openai.write_text('[{"role": "user", "content": "written by hand"}]')
    assert "is not an exported conversation" in refused(talk, f"/export {openai}")
    assert "A note of mine." in markdown.read_text() and "by hand" in openai.read_text()
    talk.say(f"/export --force {markdown}", f"/export --force {openai}")
    assert "A note of mine." not in markdown.read_text() and "two" in openai.read_text()


@pytest.mark.parametrize("answer", ("yes", "no"))
def test_at_a_terminal_the_user_is_asked(talk, tmp_path, monkeypatch, answer):
    questions = []
    monkeypatch.setattr("glmq.cli.named_files.ask", lambda *asked: questions.append(asked) or answer)
    picture = tmp_path / "photo.png"
    picture.write_bytes(b"\x89PNG")
    talk.say("one")
    if answer == "yes":
        talk.say(f"/save {picture}")
    else:
        refused(talk, f"/save {picture}")
    assert (picture.read_bytes() == b"\x89PNG") == (answer == "no")
    assert "photo.png is there already" in questions[0][0]


def test_a_name_that_is_the_home_folders(talk, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    talk.say("one", "/save ~/talk.json")
    assert (tmp_path / "talk.json").exists()
    assert "would be a folder" in refused(talk, "/save ~/talks/")
    assert "it is a folder" in refused(talk, "/save ~")
    assert [path.name for path in tmp_path.iterdir()] == ["talk.json"]


def test_a_pipe_cannot_be_loaded(talk, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refused(talk, f"/load {tmp_path / 'pipe'}")


def test_files_go_with_the_next_message(talk, tmp_path):
    (tmp_path / "a.txt").write_text("first\n")
    (tmp_path / "b.txt").write_text("zwölf\n")
    assert (
        talk.say(f"/file {tmp_path / 'a.txt'}")
        == f"{tmp_path / 'a.txt'} goes with your next message, 6 tokens."
    )
    talk.say(f"/file {tmp_path / 'b.txt'}", "What is in them?", "Thanks")
    question = "File a.txt:\n\nfirst\n\nFile b.txt:\n\nzwölf\n\nWhat is in them?"
    assert contents(talk)[::2] == [question, "Thanks"]


def test_clear_drops_files_that_wait_for_the_next_message(talk, tmp_path):
    (tmp_path / "a.txt").write_text("inside")
    talk.say(f"/file {tmp_path / 'a.txt'}")
    assert talk.context_use().endswith(", 1 file attached")
    talk.say("/clear", "one")
    assert contents(talk) == ["one", "answer 1"]


def test_files_that_are_no_text(talk, tmp_path):
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    assert "no text" in refused(talk, f"/file {tmp_path / 'image.png'}")
    assert "cannot be read" in refused(talk, f"/file {tmp_path / 'none.txt'}")
    assert "not a file" in refused(talk, f"/file {tmp_path}")
    assert "not a file" in refused(talk, "/file /dev/zero")
    assert "text only" in refused(talk, f"/image {tmp_path / 'image.png'}")
    talk.say("one")
    assert contents(talk)[0] == "one"


def test_files_stay_for_the_message_after_one_that_is_too_long(talk, tmp_path, glm_4_7):
    (tmp_path / "a.txt").write_text("inside")
    with pytest.raises(GlmqError, match="do not fit"):
        talk.say(f"/file {tmp_path / 'a.txt'}", "x" * 9000)
    talk.say("one")
    assert contents(talk) == ["File a.txt:\n\ninside\n\none", "answer 2"]
