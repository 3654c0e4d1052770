"""`glmq chat demo-tools`, the real model: in a terminal, through pipes, and from a session file."""

from __future__ import annotations

import re

import pytest
from glmq_kernels.jit.cache_folder import cache_folder

from .test_command_line import run

WEATHER = "How is the weather in Oslo?"
SURE = ("--temp", "0", "--threads", "1", "--ctx", "2048")
ANSWER = re.compile(r"It is (\d\d) degrees and (\w+) in Oslo\.")
CALL = '[tool call] get_weather(city="Oslo")'


@pytest.fixture
def terminal(tmp_path):
    pytest.importorskip("pexpect")
    pytest.importorskip("pyte")
    from .emulated_terminal import EmulatedTerminal

    (tmp_path / "kernels").symlink_to(cache_folder() / "kernels")
    started = EmulatedTerminal(
        "run_glmq.py", "chat", "demo-tools", *SURE, columns=100, GLMQ_CACHE=str(tmp_path)
    )
    started.wait_for("/help lists commands")
    yield started
    started.close()


def test_thinking_is_folded_and_a_call_is_asked_about_run_and_answered(terminal):
    terminal.wait_for("A toy for trying thinking and tools")
    assert "Its answers are often wrong" in " ".join(terminal.text.split())
    terminal.send(f"{WEATHER}\r")
    terminal.wait_for("Run it?")
    assert "get_weather" in terminal.text
    assert "city: Oslo" in terminal.text
    terminal.send("y\r")
    terminal.wait_until(lambda rows: bool(ANSWER.search("\n".join(rows))))
    degrees, sky = ANSWER.search(terminal.text).groups()
    assert f'"degrees":{degrees},"sky":"{sky}"' in terminal.text.replace(" ", "")
    assert "▸ thought for" in terminal.text
    assert "They want the weather in Oslo" not in terminal.text
    terminal.wait_for("tokens/s · answer")
    terminal.send("/thinking\r")
    terminal.wait_for("The tool has answered.")
    terminal.send("/quit\r")
    terminal.wait_until_over()


def test_a_refused_call_is_not_run(terminal):
    terminal.send(f"{WEATHER}\r")
    terminal.wait_for("Run it?")
    terminal.send("n\r")
    terminal.wait_until(lambda rows: "tokens/s · answer" in "\n".join(rows))
    assert "degrees" not in terminal.text.split("Run it?")[1].split("[prompt")[0].split("\n")[1]


def test_through_a_pipe_only_the_answer_is_on_standard_output():
    code, out, err = run("chat", "demo-tools", WEATHER, "--yes", *SURE)
    assert code == 0, err
    degrees, sky = ANSWER.fullmatch(out.strip()).groups()
    assert "They want the weather in Oslo. I call get_weather." in err
    assert CALL in err
    assert f'{{"degrees":{degrees},"sky":"{sky}"}}' in err.replace(" ", "")


def test_through_a_pipe_nobody_can_allow_a_call():
    code, _, err = run("chat", "demo-tools", WEATHER, *SURE)
    assert code == 0, err
    assert "Tools are not run" in err
    assert not re.search(r'"degrees":', err)


def test_without_thinking_none_is_shown():
    code, out, err = run("chat", "demo-tools", WEATHER, "--yes", "--no-think", *SURE)
    assert code == 0, err
    assert ANSWER.search(out)
    assert CALL in err
    assert "They want" not in err


def test_a_thinking_budget_of_nothing_closes_the_thinking_at_once():
    code, _, err = run("chat", "demo-tools", WEATHER, "--yes", "--think-budget", "0", *SURE)
    assert code == 0, err
    assert CALL in err
    assert "They want" not in err


def test_strict_tools_call_as_well():
    code, out, err = run("chat", "demo-tools", WEATHER, "--yes", "--strict-tools", *SURE)
    assert code == 0, err
    assert ANSWER.search(out)


def test_a_session_is_taken_up_again(tmp_path):
    kept = tmp_path / "kept.session"
    first = run("chat", "demo-tools", WEATHER, "--yes", "--session", kept, *SURE)
    code, out, err = run("chat", "demo-tools", "Roll a die with 6 sides.", "--yes", "--session", kept, *SURE)
    assert (first[0], code) == (0, 0), err
    assert "Going on with 1 turn" in err
    assert re.search(r"and [4-9]\d\d cached", err)
    assert re.fullmatch(r"The die shows [1-6]\.", out.strip())


def test_tools_of_the_user_take_the_place_of_its_own(tmp_path):
    (tmp_path / "own.py").write_text(
        'def get_weather(city: str) -> str:\n    """Get the weather of a city."""\n    return "17, foggy"\n'
    )
    code, _, err = run("chat", "demo-tools", WEATHER, "--yes", "--tools", tmp_path / "own.py", *SURE)
    assert code == 0, err
    assert "17, foggy" in err
