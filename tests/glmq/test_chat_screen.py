"""`glmq chat` on the screen of a terminal: what a user types and sees."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from glmq_kernels.jit.cache_folder import cache_folder

pytest.importorskip("pexpect")
pytest.importorskip("pyte")

from .emulated_terminal import EmulatedTerminal
from .talks import call, prompts_in, write_script

BEGIN_PASTE_MODE = b"\x1b[?2004h"
"""What a prompt begins with."""

MARKDOWN = """Hm.</think># A heading

Some *words* and `code`, as many of them as are wrapped at forty columns.

- one
- two

```python
def f(x):
    return x
```
"""
SHOWN = {
    80: """A heading

Some words and code, as many of them as are wrapped at forty columns.

 • one
 • two

  def f(x):
      return x
""",
    40: """A heading

Some words and code, as many of them as
are wrapped at forty columns.

 • one
 • two

  def f(x):
      return x
""",
}
TOOLS = '''
def weather(city: str, days: int = 1) -> str:
    """The weather of a city."""
    return f"sunny in {city}, for {days}"
'''
HANG = """
import pathlib, time

def hang() -> str:
    "Never ends."
    pathlib.Path(STARTED).touch()
    time.sleep(600)
    return ""
"""
BOTH = ["a</think>I look." + call("weather", city=city) for city in ("Köln", "Bonn")]


def own_cache(folder: Path):
    """A cache folder with the kernels but without any history."""
    cache = folder / "cache"
    if not cache.exists():
        cache.mkdir()
        (cache / "kernels").symlink_to(cache_folder() / "kernels")
    return cache


class TerminalChat(EmulatedTerminal):
    """A chat in a terminal."""

    def __init__(self, folder: Path, model, replies, *arguments, seconds=0.0, **more) -> None:
        script = write_script(folder, replies, seconds)
        cache = str(own_cache(folder))
        super().__init__(
            "scripted_chat.py",
            str(script),
            "chat",
            str(model),
            *map(str, arguments),
            GLMQ_CACHE=cache,
            **more,
        )
        self._n_prompts = 0

    def type(self, line: str) -> None:
        """Type a line, once the prompt waits for it."""
        self.wait_for_prompt()
        self.send(f"{line}\r")

    def wait_for_prompt(self) -> None:
        """Go on when another message can be typed."""
        self._n_prompts += 1
        self.wait_until(lambda rows: self.received.count(BEGIN_PASTE_MODE) >= self._n_prompts)

    def leave(self) -> str:
        """Type /quit; gives all that was shown."""
        self.type("/quit")
        return self.wait_until_over()


@pytest.fixture
def chat(tmp_path, glm_4_7_path):
    """Starts a chat with GLM-4.7 in a terminal."""
    chats = []

    def start(replies, *arguments, model=glm_4_7_path, **more):
        chats.append(TerminalChat(tmp_path, model, replies, *arguments, **more))
        return chats[-1]

    yield start
    for each in chats:
        each.close()


@pytest.fixture
def tools(tmp_path):
    path = tmp_path / "tools.py"
    path.write_text(TOOLS, encoding="utf-8")
    return path


def at_once(text):
    """A text in which all thinking took no time."""
    return re.sub(r"thought for \d+ s", "thought for 0 s", text)


@pytest.mark.parametrize("columns", (80, 40))
def test_an_answer(chat, columns):
    terminal = chat([MARKDOWN], columns=columns)
    terminal.type("Hello")
    text = terminal.leave()
    assert text.startswith("glmq ") and "GLM-4.7 · context 8192" in text
    folded = "▸ thought for 0 s, 3 tokens" + (" (/thinking shows it)" if columns == 80 else "")
    assert f"> Hello\n{folded}\n\n{SHOWN[columns]}[prompt 10 tokens, " in at_once(text)
    assert max(len(row) for row in text.split("\n")) <= columns


def test_no_colour(chat):
    terminal = chat([MARKDOWN], NO_COLOR="1")
    terminal.type("Hello")
    terminal.wait_for("answer ")
    assert SHOWN[80] in terminal.text
    assert set(terminal.styles) <= {"default", "bold", "italics", "underscore"}


def test_a_dumb_terminal(chat):
    terminal = chat([MARKDOWN], TERM="dumb", columns=100)
    terminal.wait_for(">")
    terminal.send("Hello\r")
    terminal.wait_for("answer ")
    assert MARKDOWN.split("</think>")[1] in terminal.text
    assert b"\x1b" not in terminal.received.partition(b"> ")[2]
    terminal.send("/quit\r")
    terminal.wait_until_over()


def test_plain_text_and_shown_thinking(chat):
    terminal = chat([MARKDOWN], "--no-markdown", "--think-view", "unfolded", "--no-stats")
    terminal.type("Hello")
    assert "> Hello\nHm.\n\n" + MARKDOWN.split("</think>")[1] + "> /quit" in terminal.leave()


def test_hidden_thinking(chat):
    terminal = chat(["secret</think>Yes."], "--think-view", "hidden", "--no-stats")
    terminal.type("Hello")
    terminal.wait_for("Yes.")
    assert "secret" not in terminal.received.decode()
    terminal.type("/thinking")
    terminal.wait_for("secret")


def test_several_lines_are_one_message(chat, tmp_path):
    terminal = chat(["</think>1", "</think>2", "</think>3", "</think>4"])
    terminal.wait_for_prompt()
    terminal.send("first\x1b\rsecond\r")
    terminal.wait_for("[prompt")
    terminal.type("first\\")
    terminal.send("second\r")
    terminal.wait_for("2\n")
    terminal.type('"""first')
    terminal.send('second"""\r')
    terminal.wait_for("3\n")
    terminal.wait_for_prompt()
    terminal.send("\x1b[200~first\nsecond\x1b[201~\r")
    terminal.wait_for("4\n")
    terminal.leave()
    questions = [prompt.rpartition("<|user|>")[2].partition("<|")[0] for prompt in prompts_in(tmp_path)]
    assert questions == ["first\nsecond"] * 4


def test_tab_completes_commands_settings_and_paths(chat, tmp_path):
    (tmp_path / "unlikely name.txt").write_text("inside")
    terminal = chat(["</think>ok"], columns=250)
    terminal.type("/comp\t")
    terminal.wait_for("there are not two turns yet")
    terminal.type("/set temperat\t 0.5")
    terminal.wait_for("temperature is 0.5 now.")
    terminal.type(f"/file {tmp_path}/unlik\t")
    terminal.wait_for("goes with your next message")
    terminal.leave()


def test_history_is_there_in_the_next_chat(chat, tmp_path):
    first = chat(["</think>ok"])
    first.type("a memorable message")
    first.leave()
    terminal = chat(["</think>ok"])
    terminal.wait_for_prompt()
    terminal.send("\x1b[A\x1b[A")
    terminal.wait_for("> a memorable message")


def test_the_editor(chat, tmp_path):
    script = tmp_path / "editor.py"
    script.write_text(
        "import sys\nopen(sys.argv[1], 'w').write('changed')\nimport os\nos.utime(sys.argv[1], (9, 9))\n"
    )
    editor = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"
    terminal = chat(["</think>one", "</think>two"], EDITOR=editor, VISUAL=editor)
    terminal.type("Hello")
    terminal.type("/edit")
    terminal.wait_for("two")
    terminal.leave()
    assert "<|user|>changed<|assistant|>" in prompts_in(tmp_path)[1]


def test_calls_are_confirmed(chat, tools):
    replies = [*BOTH[:1], "b</think>Fine.", *BOTH, "c</think>Good.", *BOTH, "d</think>Well."]
    terminal = chat(replies, "--tools", tools, "--no-stats")
    terminal.type("one")
    terminal.wait_for("Run it?")
    terminal.send("no, not today\r")
    terminal.wait_for("Fine.")
    assert at_once(terminal.text).split("> one\n")[1].split("\n\n▸")[0] == (
        "▸ thought for 0 s, 1 token (/thinking shows it)\n\n"
        "I look.\n\n"
        "Call of weather\n"
        "  city: Köln\n"
        "Run it? y(es), a(lways this tool), n(o), or no, and why: no, not today\n"
        "  The user refused this call, saying: not today"
    )
    terminal.type("two")
    terminal.wait_until(lambda rows: rows[-1].endswith("and why:") and "> two" in rows)
    terminal.send("y\r")
    terminal.wait_for("sunny in Köln, for 1")
    terminal.wait_until(lambda rows: rows[-1].endswith("and why:"))
    terminal.send("a\r")
    terminal.wait_for("Good.")
    terminal.type("three")  # is not asked about any more
    terminal.wait_for("Well.")
    text = terminal.leave()
    assert text.count("sunny in Köln") == 2 and text.count("Run it?") == 3


def test_what_was_typed_before_the_question_confirms_nothing(chat, tools):
    terminal = chat([*BOTH[:1], "b</think>Fine."], "--tools", tools, seconds=0.02)
    terminal.type("one")
    terminal.wait_for("thought")
    terminal.send("y\r")
    terminal.wait_for("Run it?")
    terminal.send("n\r")
    terminal.wait_for("Fine.")
    assert "sunny" not in terminal.text


def test_ctrl_c_at_the_question_ends_the_turn(chat, tools):
    terminal = chat([*BOTH[:1], "b</think>Fine."], "--tools", tools)
    terminal.type("one")
    terminal.wait_for("Run it?")
    terminal.interrupt()
    terminal.type("two")
    terminal.wait_for("Fine.")
    terminal.leave()


def test_ctrl_c_in_a_tool_ends_the_turn(chat, tools):
    started = tools.with_name("started")
    tools.write_text(HANG.replace("STARTED", repr(str(started))))
    terminal = chat([f"a</think>{call('hang')}", "b</think>Fine."], "--tools", tools, "--yes")
    terminal.type("one")
    terminal.wait_until(lambda rows: started.exists())
    terminal.interrupt()
    terminal.wait_for("[prompt")
    terminal.type("two")
    terminal.wait_for("Fine.")
    assert "stopped the turn" in prompts_in(tools.parent)[1]
    terminal.leave()


def test_ctrl_c_in_an_answer_keeps_its_text(chat, tmp_path):
    terminal = chat(["a</think>" + "word " * 400, "b</think>Fine."], seconds=0.02)
    terminal.type("one")
    terminal.wait_for("word word word")
    terminal.interrupt()
    terminal.wait_for("[prompt")
    terminal.type("two")
    terminal.wait_for("Fine.")
    assert "word word word" in prompts_in(tmp_path)[1]
    terminal.leave()


def test_ctrl_c_in_a_summary_changes_nothing(chat, tmp_path):
    replies = ["</think>1", "</think>2", "word " * 400, "</think>3"]
    terminal = chat(replies, "--no-think", seconds=0.02)
    terminal.type("one")
    terminal.type("two")
    terminal.wait_for("\n2\n")
    terminal.type("/compact")
    while len(prompts_in(tmp_path)) < 3:
        terminal.wait_for("/compact")
    terminal.interrupt()
    terminal.wait_for("Stopped.")
    terminal.type("three")
    terminal.leave()
    assert "one" in prompts_in(tmp_path)[3]


def test_the_window_may_change_while_an_answer_streams(chat):
    terminal = chat(["a</think>" + " ".join(f"word{i}" for i in range(60))], seconds=0.01)
    terminal.type("one")
    terminal.wait_for("word0 word1")
    terminal.resize(40, 24)
    terminal.wait_for("[prompt")
    assert terminal.text.count("word") >= 60
    terminal.leave()


def test_on_the_way_through_a_long_prompt_its_state_is_shown_and_goes_away(chat):
    terminal = chat(["a</think>Yes."], columns=40, rows=60)
    terminal.type("x" * 3000)
    terminal.wait_for("Yes.")
    assert b"reading the prompt: 2048 of 3" in terminal.received
    assert "reading" not in terminal.text
    terminal.leave()


def test_a_session_goes_on(chat, tmp_path):
    session = ("--session", tmp_path / "chat.session")
    first = chat(["a</think>One."], *session)
    first.type("one")
    first.leave()
    terminal = chat(["b</think>Two."], *session)
    terminal.wait_for("Going on with 1 turn, context 14 of 8,192 tokens (0%).")
    terminal.type("two")
    terminal.wait_for("cached)")
    terminal.leave()
    assert "One." in prompts_in(tmp_path)[1]


def test_keys_that_leave(chat):
    terminal = chat([])
    terminal.wait_for_prompt()
    terminal.send("\x04")
    terminal.wait_until_over()
    terminal = chat([])
    terminal.wait_for_prompt()
    terminal.interrupt()
    terminal.wait_for("Press Ctrl-C again")
    terminal.wait_for_prompt()
    terminal.interrupt()
    terminal.wait_until_over()


def test_a_full_context_is_told_below_the_answer(chat):
    terminal = chat(["a</think>" + "word " * 60], "--ctx", "200")
    terminal.type("one")
    terminal.wait_for("The context of 200 tokens is full: /undo or /clear makes room.")
    rows = terminal.text.split("\n")
    told = next(i for i, row in enumerate(rows) if "is full" in row)
    assert rows[told - 2].startswith("[prompt") or rows[told - 1].startswith("[prompt")
    terminal.leave()
