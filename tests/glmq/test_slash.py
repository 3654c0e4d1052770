"""The commands of a chat."""

from __future__ import annotations

import gc
import json
import os
import shlex
import sys
import weakref
from dataclasses import fields

import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq import Sampling
from glmq.cli import slash
from glmq.cli.talk_settings import setting_names

from .small_models import write_glm4moe
from .talks import new_talk
from .test_command_line import refused as refused_by_chat

REPLIES = [f"</think>answer {i}" for i in range(1, 6)]


@pytest.fixture
def talk(monkeypatch, glm_4_7):
    return new_talk(monkeypatch, glm_4_7, list(REPLIES))


def contents(talk):
    return [message["content"] for message in talk.messages]


def refused(talk, line):
    with pytest.raises(GlmqError) as raised:
        talk.say(line)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_help_tells_of_every_command(talk):
    told = talk.say("/help")
    assert all(f"\n{name}" in f"\n{told}" for name in slash.COMMANDS)
    assert max(map(len, told.split("\n"))) <= 80


def test_unknown_commands(talk):
    assert refused(talk, "/dance now").startswith("there is no command /dance; /help lists them")
    talk.say(" /dance is how I begin")
    assert contents(talk)[0] == " /dance is how I begin"


@pytest.mark.parametrize("name", [name for name, each in slash.COMMANDS.items() if not each.arguments])
def test_commands_without_arguments_take_none(talk, name):
    talk.say("one")
    assert refused(talk, f"{name} now") == f"{name} stands alone, without 'now' behind it"
    assert contents(talk) == ["one", "answer 1"]


def test_a_setting_is_shown_by_its_name(talk):
    talk.say("/set temp 0.5", "/set think on")
    assert talk.say("/set temp") == "temperature 0.5"
    assert talk.say("/set think ") == "think on"


def test_undo_takes_turns_back(talk):
    talk.say("one", "two\nand more")
    assert talk.say("/undo") == "Taken back: two…"
    assert contents(talk) == ["one", "answer 1"]
    assert talk.say("/undo") == "Taken back: one"
    assert "no message of yours" in refused(talk, "/undo")


def test_retry_answers_anew(talk):
    talk.say("one", "/retry")
    assert contents(talk) == ["one", "answer 2"]
    assert talk.prompts[0] == talk.prompts[1]
    talk.say("/clear")
    assert "no message of yours" in refused(talk, "/retry")


def test_a_retry_that_is_stopped_at_once_keeps_the_answer(talk, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    talk.say("one")
    talk.script.stop_at = ""
    talk.say("/retry")
    assert contents(talk) == ["one", "answer 1"]


def editor(tmp_path, monkeypatch, program):
    """Makes a Python program the editor; `path` in it is the file's."""
    script = tmp_path / "editor.py"
    script.write_text(f"import sys, pathlib, os\npath = pathlib.Path(sys.argv[1])\n{program}\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")


CHANGE = """
path.write_text(path.read_text().strip() + ' more\\n')
os.utime(path, (10, 10))
"""


def test_edit_changes_the_last_message(talk, tmp_path, monkeypatch):
    editor(tmp_path, monkeypatch, CHANGE)
    talk.say("one", "two", "/edit")
    assert contents(talk) == ["one", "answer 1", "two more", "answer 3"]
    editor(tmp_path, monkeypatch, "pass")
    assert talk.say("/edit") == "Nothing is changed."
    assert contents(talk)[-1] == "answer 3"
    editor(tmp_path, monkeypatch, "sys.exit(3)")
    assert "EDITOR" in refused(talk, "/edit")
    talk.say("/clear")
    assert "no message of yours" in refused(talk, "/edit")


def test_clear_forgets_all_but_the_system_message(talk):
    assert talk.say("/system") == "There is no system message."
    assert talk.say("/system Be brief.") == "The system message is set: Be brief."
    talk.say("one", "/clear")
    assert contents(talk) == ["Be brief."]
    talk.say("two")
    assert "Be brief." in talk.prompts[-1]
    assert talk.say("/system off") == "The system message is gone."
    assert contents(talk) == ["two", "answer 2"]


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


PLAIN = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}answer:"

VALUES = {
    "max_tokens": ("7", 7),
    "think": ("off", False),
    "think_budget": ("off", None),
    "think_keep": ("on", True),
    "think_view": ("hidden", "hidden"),
    "strict_tools": ("on", True),
    "stats": ("off", False),
    "markdown": ("off", False),
    "temperature": ("0.25", 0.25),
    "seed": ("3", 3),
    "order": ("top_k;temperature", ("top_k", "temperature")),
    "logit_bias": ("5-inf", {5: float("-inf")}),
    "dry_breakers": ("none", ()),
}


@pytest.mark.parametrize("name", VALUES)
def test_settings(talk, name):
    text, value = VALUES[name]
    assert talk.say(f"/set {name} {text}") == f"{name} is {text} now."
    owner = talk.settings if hasattr(talk.settings, name) else talk.settings.sampling
    assert getattr(owner, name) == value


def test_an_unknown_setting_lists_all_that_there_are(talk):
    told = refused(talk, "/set dance 1")
    assert all(name in told for name in setting_names())


def test_every_setting_can_be_set_to_what_is_shown_of_it(talk):
    shown = dict(line.partition(" ")[::2] for line in talk.say("/set").split("\n"))
    assert [*shown, "default"] == setting_names()
    assert {field.name for field in fields(Sampling)} <= set(shown)
    talk.say("/set logit_bias 5-inf 7+1.5")
    shown["logit_bias"] = "5-inf 7+1.5"
    before = talk.settings
    for name, text in shown.items():
        talk.say(f"/set {name} {text}")
    assert talk.settings == before


def test_thinking_can_be_left_to_the_model_again(talk):
    talk.say("/nothink", "/set think default")
    assert talk.settings.think is None


def test_settings_go_back_to_what_suits_the_model(talk):
    suits = talk.settings.sampling
    talk.say("/set temp 0", "/set top-k 5")
    assert (talk.settings.sampling.temperature, talk.settings.sampling.top_k) == (0, 5)
    talk.say("/set temp default")
    assert talk.settings.sampling.temperature == suits.temperature
    talk.say("/set default")
    assert talk.settings.sampling == suits


@pytest.mark.parametrize(
    "line",
    ("/set dance 1", "/set default 5", "/set temp hot", "/set temp -1", "/set max_tokens few",
     "/set markdown maybe", "/set stats maybe", "/set think_view loud", "/set order dance",
     "/set max_tokens 0", "/set think maybe"),
)  # fmt: skip
def test_bad_settings_are_refused_and_change_nothing(talk, line):
    before = talk.settings
    assert line.split()[1] in refused(talk, line) or "temperature" in refused(talk, line)
    assert talk.settings == before


def test_another_model_goes_on_with_the_conversation(talk, glm_4_6_path):
    talk.say("one", f"/model {glm_4_6_path}")
    assert talk.say("/model").startswith("GLM-4.6 · context 8192 · ")
    talk.say("two")
    assert talk.prompts[-1].endswith(
        "<|user|>\none<|assistant|>\n<think></think>\nanswer 1<|user|>\ntwo<|assistant|>"
    )
    assert contents(talk)[2:] == ["two", "answer 2"]
    talk.opened.close()


def test_settings_that_another_model_cannot_have_are_dropped_and_told(talk, glm_4_6_path, tmp_path):
    talk.say("/set think_keep on", "/think")
    told = talk.say(f"/model {glm_4_6_path}").split("\n")
    assert told[0] == "This model has no choice of think_keep: that setting is dropped."
    assert talk.settings.think is True and talk.settings.think_keep is False
    path = write_glm4moe(tmp_path / "plain.gguf", "Q8_0", n_ctx=8192, chat_template=PLAIN)
    assert talk.say(f"/model {path}").startswith("This model has no choice of think:")
    assert talk.settings.think is None
    talk.say("one")
    talk.opened.close()


def test_tools_are_not_offered_to_a_model_that_knows_none(monkeypatch, glm_4_7, tmp_path):
    (tmp_path / "tools.py").write_text('def now() -> str:\n    """The time."""\n    return "noon"\n')
    talk = new_talk(monkeypatch, glm_4_7, list(REPLIES), tools=str(tmp_path / "tools.py"))
    path = write_glm4moe(tmp_path / "plain.gguf", "Q8_0", n_ctx=8192, chat_template=PLAIN)
    assert "tells of no tools: none are offered" in talk.say(f"/model {path}")
    talk.say("one")
    assert "tells of no tools, so none are offered" in talk.say("/tools")
    talk.opened.close()


def test_a_model_that_was_left_is_closed_and_forgotten(talk, glm_4_7_path, glm_4_6_path):
    talk.say(f"/model {glm_4_6_path}", "one")
    left = weakref.ref(talk.model)
    talk.say(f"/model {glm_4_7_path}", "two")
    gc.collect()
    assert left() is None
    talk.opened.close()


def test_a_model_that_cannot_be_used_leaves_the_old_one(talk, tmp_path, glm_4_6_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF nonsense")
    assert "broken.gguf" in refused(talk, f"/model {tmp_path / 'broken.gguf'}")
    assert "nowhere.gguf" in refused(talk, f"/model {tmp_path / 'nowhere.gguf'}")
    talk.say("one", "two")
    assert contents(talk)[-1] == "answer 2"
    assert talk.say("/model").startswith("GLM-4.7")


def test_tokens_are_counted(talk, glm_4_7):
    assert talk.say("/tokens some text") == f"{len(glm_4_7.tokenize('some text'))} tokens."
    assert talk.say("/tokens") == "context 0 of 8,192 tokens (0%), 0 turns."
    talk.say("one")
    used = len(glm_4_7.tokenize(talk.prompts[0].removesuffix("<think>") + REPLIES[0]))
    assert talk.say("/tokens") == f"context {used} of 8,192 tokens (0%), 1 turn."
    talk.say("two", "/undo")
    assert talk.say("/tokens") == f"context {used} of 8,192 tokens (0%), 1 turn."
    talk.say("/clear")
    assert talk.say("/tokens") == "context 0 of 8,192 tokens (0%), 0 turns."


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


def test_compact_puts_a_summary_in_place_of_the_older_half(talk):
    talk.script.replies[4:] = ["</think>They counted to two.", "</think>answer 6"]
    talk.say("/system Be brief.", "one" + 100 * " and one", "two", "three", "four")
    before = talk.chat.n_used
    assert talk.say("/compact") == (
        "Summarised the oldest 2 turns; the conversation has 3 turns now,"
        f" {talk.chat.n_used:,} tokens instead of {before:,}.\n\nThey counted to two."
    )
    asked = talk.prompts[4]
    assert "answer 2" in asked and "answer 3" not in asked and "Be brief." not in asked
    assert contents(talk) == [
        "Be brief.",
        "Summary of our conversation so far:\n\nThey counted to two.",
        "I go on from there.",
        *("three", "answer 3", "four", "answer 4"),
    ]
    talk.say("five")
    assert "They counted to two." in talk.prompts[-1]


def test_compact_drop_forgets_the_older_half(talk):
    talk.say("one", "two", "three")
    before = talk.chat.n_used
    assert talk.say("/compact drop") == (
        "Dropped the oldest 1 turn; the conversation has 2 turns now,"
        f" {talk.chat.n_used} tokens instead of {before}."
    )
    assert contents(talk) == ["two", "answer 2", "three", "answer 3"]
    assert "/compact drop" in refused(talk, "/compact now")
    talk.say("/compact drop")
    assert "/undo" in refused(talk, "/compact")


def test_a_summary_that_is_longer_than_what_it_stands_for_changes_nothing(talk):
    talk.script.replies[2:] = ["</think>" + "They talked for a long time. " * 5]
    talk.say("one", "two")
    before = list(talk.chat.messages)
    assert "more room" in refused(talk, "/compact")
    assert talk.chat.messages == before


def test_no_summary_changes_nothing(talk):
    talk.script.replies[2:] = ["</think>"]
    talk.say("one", "two")
    assert "/compact drop" in refused(talk, "/compact")
    assert contents(talk) == ["one", "answer 1", "two", "answer 2"]


def test_a_summary_that_has_no_room_changes_nothing(monkeypatch, glm_4_7_path):
    with glmq.load(glm_4_7_path, n_ctx=300) as model:
        talk = new_talk(monkeypatch, model, list(REPLIES))
        talk.say("x" * 140, "y" * 80)
        assert "/compact drop" in refused(talk, "/compact")
        assert talk.chat.conversation.n_turns == 2
        assert "Dropped" in talk.say("/compact drop")


def test_a_context_that_gets_full_is_told_before_and_when_it_is(monkeypatch, glm_4_7_path, capsys):
    with glmq.load(glm_4_7_path, n_ctx=128) as model:
        replies = ["</think>" + letter * 80 for letter in "xyy"]
        talk = new_talk(monkeypatch, model, [*replies, "", "", "</think>ok"])
        talk.say("one")
        assert "full" not in capsys.readouterr().err
        talk.say("/set max_tokens 20", "two")
        assert (
            "context 113 of 128 tokens (88%): /compact makes room, before it is full."
            in capsys.readouterr().err
        )
        talk.say("/undo", "/set max_tokens off", "two")
        assert "The context of 128 tokens is full: /compact makes room." in capsys.readouterr().err
        assert contents(talk)[-1].startswith("yyy")
        with pytest.raises(GlmqError, match="do not fit.*/compact makes room"):
            talk.say("three")
        assert len(contents(talk)) == 4
        talk.say("/compact drop", "/clear")
        with pytest.raises(GlmqError, match="do not fit.*or the text shorter$"):
            talk.say("x" * 200)
        talk.say("three")
        assert contents(talk) == ["three", "ok"]


def test_stats_and_tools(talk):
    told = talk.say("/stats")
    assert "mapped into memory" in told and "context 0 of 8,192 tokens (0%)" in told
    assert "--tools" in talk.say("/tools")


def test_models_without_a_switch_say_so(talk, monkeypatch, glm_4_7):
    monkeypatch.setattr("glmq.cli.slash.settings_commands.thinking_format", lambda template: NoSwitch)
    assert "no switch" in refused(talk, "/nothink")
    assert "no switch" in refused(talk, "/think hello")
    assert contents(talk) == []


class NoSwitch:
    has_switch = False


def test_a_broken_template_is_refused_at_the_start_and_by_model(talk, tmp_path):
    path = write_glm4moe(
        tmp_path / "broken.gguf", "Q8_0", name="GLM-4.7", n_ctx=8192, chat_template="{% for %}"
    )
    assert "template" in refused_by_chat("chat", path, stdin="hi\n")
    assert "template" in refused(talk, f"/model {path}")
    talk.say("one")
    assert contents(talk) == ["one", "answer 1"]
