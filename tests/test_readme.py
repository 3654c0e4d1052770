"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from glmq_kernels.errors import UserError

from glmq import demo

from .glmq.test_command_line import run

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo_path():
    try:
        return demo.demo_model_path()
    except UserError as error:
        pytest.skip(str(error))


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("glmq ")]


def test_there_are_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line, demo_path):
    words = [str(demo_path) if word.endswith(".gguf") else word for word in shlex.split(line)[1:]]
    if words[0] == "chat":
        code, out, err = run(*words, "-n", 20, stdin="Hello\n/quit\n")
    else:
        code, out, err = run(*words)
    assert code == 0, err
    assert out.strip()


def test_python(demo_path, capsys):
    [block] = blocks("python")
    exec(block.replace("demo.gguf", str(demo_path)), {})
    assert "Paris" in capsys.readouterr().out


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
