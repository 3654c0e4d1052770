"""The programs in examples/, as their users run them."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import time

import pytest

import glmq

from .glmq.scripted_chat import Script
from .glmq.test_command_line import ENVIRONMENT, ROOT

EXAMPLES = ROOT / "examples"


def run(name, *arguments, **more):
    """(standard output, standard error) of an example."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env=ENVIRONMENT, **more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_every_example_is_told_of():
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in told] == []


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("The sky is blue because the air scatters blue light more than red light.\n" * 5)
    return path


def test_questions_about_a_file(page):
    out, err = run("ask_about_a_file.py", page, "What is blue?", "And red?", "--model", "demo-tools")
    assert len(out.strip().splitlines()) >= 2
    first, second = [line for line in err.splitlines() if line.endswith("tokens were read before]")]
    assert first.startswith("[0 of ") and not second.startswith("[0 of ")


def test_questions_that_are_typed(page):
    out, err = run("ask_about_a_file.py", page, "--model", "demo-tools", input="What is blue?\n\n")
    assert out.strip() and err.count("? ") == 2


def test_a_file_that_is_not_there(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ask_about_a_file.py"), str(tmp_path / "none.txt"), "?",
         "--model", "demo-tools"],
        capture_output=True, text=True, timeout=120, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: ")


def test_conversations_on_an_event_loop():
    out, _ = run("asyncio_chat.py", "demo-tools", 0.001)
    assert out.count("ada: ") == out.count("bob: ") == 2
    assert "hurry: stopped after" in out and out.count("hurry: ") == 2


@pytest.fixture(scope="module")
def display():
    """The name of a display that no screen shows."""
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb, on which windows are shown without a screen")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as told:
        name = told.readline().strip()
    yield f":{name}"
    server.terminate()
    server.wait()


class DrivenWindow:
    """The chat window, used through its widgets."""

    def __init__(self, display, model):
        import tkinter

        specification = importlib.util.spec_from_file_location("chat_window", EXAMPLES / "chat_window.py")
        chat_window = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(chat_window)
        self.root = tkinter.Tk(screenName=display)
        self.error, self.errors = tkinter.TclError, []
        self.root.report_callback_exception = lambda kind, error, trace: self.errors.append(error)
        self.window = chat_window.ChatWindow(self.root, model)

    def until(self, condition):
        """Let the window live until something is so."""
        end = time.monotonic() + 60
        while not condition():
            self.root.update()
            assert not self.errors and time.monotonic() < end, (self.errors, self.shown, self.status)
            time.sleep(0.002)

    def ask(self, text):
        """Type a question and press Enter."""
        self.window.entry.insert("end", text)
        self.window.entry.focus_force()
        self.root.update()
        self.window.entry.event_generate("<Return>")
        assert self.window.entry.get("1.0", "end").strip() == ""

    @property
    def is_open(self):
        try:
            return bool(self.root.winfo_exists())
        except self.error:
            return False

    def answered(self):
        return self.window.chat is not None and self.window.turn is None

    @property
    def shown(self):
        """The text of the conversation that is not folded."""
        text = self.window.text
        return text.tk.call(text._w, "get", "-displaychars", "1.0", "end")

    @property
    def status(self):
        return self.window.status.cget("text")

    def click(self, text):
        """Click on a text of the conversation."""
        widget = self.window.text
        place = widget.search(text, "1.0")
        widget.see(place)
        self.root.update()
        x, y, *_ = widget.bbox(place)
        widget.event_generate("<Motion>", x=x + 2, y=y + 2)
        widget.event_generate("<Button-1>", x=x + 2, y=y + 2)
        self.root.update()

    def close(self):
        """Close the window as its user does; returns when it and the model's thread are gone."""
        if self.is_open:
            self.window.close()
        while self.is_open:
            self.root.update()
        assert not self.window.worker.is_alive() and not self.errors


@pytest.fixture
def opened(display):
    """Opens chat windows, which are closed in the end."""
    windows = []

    def open_window(model="demo-tools"):
        windows.append(DrivenWindow(display, model))
        return windows[-1]

    yield open_window
    for window in windows:
        window.close()
    del window
    windows.clear()
    gc.collect()  # here, as Tcl ends the program where another thread lets go of a window


@pytest.fixture
def says(monkeypatch):
    """Makes models say replies, a token every few milliseconds."""

    def say(*replies):
        script = Script(replies, seconds=0.01)
        monkeypatch.setattr(
            glmq.Model, "generate", lambda model, prompt, **more: script.generate(model, prompt, **more)
        )

    return say


NUMBERS = " ".join(map(str, range(1, 60)))


def test_the_window_answers_one_question_after_another(opened):
    window = opened()
    assert str(window.window.button.cget("state")) == "disabled"
    window.until(window.answered)
    for question in ("How is the weather in Oslo?", "Thanks."):
        window.ask(question)
        assert window.window.button.cget("text") == "Stop"
        window.until(window.answered)
        assert window.status.split()[1] == "tokens,", window.status
    assert [message["role"] for message in window.window.chat.messages] == ["user", "assistant"] * 2
    for message in window.window.chat.messages:
        assert message["content"].strip() in window.shown
    assert window.window.button.cget("text") == "Send"


def test_thinking_is_folded_until_it_is_clicked(opened, says):
    says("I think of Oslo.</think>It rains.")
    window = opened()
    window.until(window.answered)
    window.ask("Weather?")
    window.until(window.answered)
    assert window.shown.split("\n")[:3] == ["Weather?", "▸ thinking", "It rains."]
    window.click("▸ thinking")
    assert window.shown.split("\n")[1:4] == ["▾ thinking", "I think of Oslo.", "It rains."]
    window.click("▾ thinking")
    assert "Oslo" not in window.shown and "▸ thinking" in window.shown


def test_stop_ends_the_answer_and_the_next_one_comes(opened, says):
    says(f"</think>{NUMBERS}", "</think>Fine.")
    window = opened()
    window.until(window.answered)
    window.ask("Count.")
    window.until(lambda: " 5 " in window.shown)
    window.window.button.invoke()
    window.until(window.answered)
    assert window.status.startswith("stopped · ") and " 50 " not in window.shown
    assert window.window.chat.messages[-1]["content"] in window.shown
    window.ask("Thanks.")
    window.until(window.answered)
    assert window.shown.rstrip().endswith("Thanks.\nFine.")


def test_the_window_lives_while_an_answer_comes(opened, says):
    says(f"</think>{NUMBERS}")
    window = opened()
    window.until(window.answered)
    window.ask("Count.")
    window.until(lambda: " 5 " in window.shown)
    window.window.entry.insert("end", "typed meanwhile")
    window.window.entry.event_generate("<Return>")
    window.root.update()
    assert window.window.entry.get("1.0", "end").strip() == "typed meanwhile"
    assert window.window.turn is not None and "59" not in window.shown


def test_errors_stand_below(opened):
    window = opened()
    window.until(window.answered)
    window.ask("x " * window.window.chat.n_ctx)
    window.until(window.answered)
    assert "do not fit" in window.status and window.window.chat.messages == []
    window.ask("Hello.")
    window.until(window.answered)
    assert window.window.chat.messages[-1]["role"] == "assistant"
    missing = opened("nowhere.gguf")
    missing.until(lambda: "nowhere.gguf" in missing.status)


@pytest.mark.parametrize("moment", ("at once", "in an answer"))
def test_closing_ends_the_model_too(opened, says, moment):
    says(f"</think>{NUMBERS}")
    window = opened()
    if moment == "in an answer":
        window.until(window.answered)
        window.ask("Count.")
        window.until(lambda: " 5 " in window.shown)
    window.close()
    assert not window.is_open
