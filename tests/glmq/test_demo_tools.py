"""The model of `glmq chat demo-tools`: a real one, whose answers are made here as a user gets them."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.demo import DEMOS, TOOLS_MODEL
from glmq.model_file import model_file
from glmq.tools import ToolBox, load_tools, run_rounds

from .test_command_line import run

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT.parent / "shared" / "models" / "tiny-glm-moe"
SURE = glmq.Sampling(temperature=0)


@pytest.fixture(scope="module")
def model():
    with glmq.load("demo-tools") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def toolbox():
    with ToolBox([load_tools(DEMOS["demo-tools"].tools)]) as opened:
        yield opened


def asked(model, text, toolbox=None, **arguments):
    """The answer to one message."""
    tools = toolbox.definitions if toolbox else None
    answer = model.chat(
        [{"role": "user", "content": text}], tools=tools, sampling=SURE, session=model.session(),
        max_tokens=200, **arguments,
    )  # fmt: skip
    answer.run()
    return answer


def test_the_file_is_small_and_part_of_the_package():
    assert 12e6 < TOOLS_MODEL.stat().st_size < 25e6
    [packaged] = re.findall(r"^glmq = \[.*", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert '"demo/*.gguf"' in packaged


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the checkpoint is not on this machine")
def test_the_script_makes_the_same_bytes(tmp_path):
    make = runpy.run_path(str(ROOT / "bench" / "make_demo_tools.py"))["make"]
    assert make(CHECKPOINT, tmp_path / "made.gguf").read_bytes() == TOOLS_MODEL.read_bytes()


def test_a_file_of_the_same_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_file("demo-tools") == TOOLS_MODEL
    (tmp_path / "demo-tools").touch()
    assert model_file("demo-tools") == Path("demo-tools")


@pytest.mark.parametrize(
    "arguments",
    (
        ("inspect", "demo-tools"),
        ("tokenize", "demo-tools", "Hello"),
        ("generate", "demo-tools", "-p", "def f(", "-n", "3"),
        ("bench", "demo-tools", "-p", "8", "-n", "2", "-r", "1"),
    ),
)
def test_every_command_knows_the_name(arguments):
    code, out, err = run(*arguments)
    assert code == 0, err
    assert out


def test_activations_are_float32_for_its_size_unless_the_user_says_otherwise(model, small_path):
    assert model.activations == "f32"
    with glmq.load("demo-tools", activations="int8") as other:
        assert other.activations == "int8"
        question = [{"role": "user", "content": "What is the capital of France?"}]
        assert other.chat(question, thinking=False, sampling=SURE).run() == "The capital of France is Paris."
    with glmq.load(small_path) as random_one:
        assert random_one.activations == "int8"
    with pytest.raises(GlmqError, match="activations of type 'f64' are not known; choose auto, int8 or f32"):
        glmq.load("demo-tools", activations="f64")


def test_it_thinks_and_closes_its_thinking(model):
    answer = asked(model, "What is the capital of France?")
    assert "capital of France" in answer.reasoning
    assert answer.content == "The capital of France is Paris."
    assert answer.finish_reason == "stop"


def test_without_thinking_it_answers_at_once(model):
    answer = asked(model, "What is the capital of France?", thinking=False)
    assert answer.reasoning == ""
    assert answer.content == "The capital of France is Paris."


def test_a_thinking_budget_closes_the_thinking(model):
    answer = asked(model, "Spell the word mirror.", think_budget=3)
    assert len(model.tokenize(answer.reasoning)) <= 3
    assert answer.content


CALLS = {
    "How is the weather in Oslo?": ("get_weather", {"city": "Oslo"}),
    "What time is it in Berlin?": ("get_time", {"city": "Berlin"}),
    "Roll a die with 6 sides.": ("roll_die", {"sides": 6}),
}


@pytest.mark.parametrize("strict", (False, True))
@pytest.mark.parametrize("thinking", (False, True))
@pytest.mark.parametrize("question", CALLS)
def test_it_calls_the_right_tool(model, toolbox, question, thinking, strict):
    answer = asked(model, question, toolbox, thinking=thinking, strict_tools=strict)
    assert answer.finish_reason == "tool_calls"
    assert bool(answer.reasoning) == thinking
    (call,) = answer.tool_calls
    name, arguments = CALLS[question]
    assert call["function"] == {"name": name, "arguments": arguments}


def test_a_call_is_run_and_its_result_answered(model, toolbox):
    messages = [{"role": "user", "content": "How is the weather in Oslo?"}]
    session = model.session()

    def respond(messages):
        answer = model.chat(
            messages, tools=toolbox.definitions, thinking=False, sampling=SURE, session=session
        )
        answer.run()
        return answer.message

    assert run_rounds(messages, respond, toolbox, approve=lambda call: True)
    told = json.loads(messages[-2]["content"])
    assert messages[-1]["content"] == f"It is {told['degrees']} degrees and {told['sky']} in Oslo."


def test_pieces_stream_and_make_up_the_answer(model):
    answer = model.chat(
        [{"role": "user", "content": "What is the capital of France?"}],
        thinking=False, sampling=SURE, session=model.session(),
    )  # fmt: skip
    pieces = list(answer)
    assert len(pieces) > 3
    assert "".join(pieces) == "The capital of France is Paris."


def test_a_restored_session_answers_as_the_one_that_was_saved(model, tmp_path):
    session = model.session()
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    first = model.chat(messages, sampling=SURE, session=session)
    first.run()
    messages += [first.message, {"role": "user", "content": "What is the capital of Norway?"}]
    session.save(tmp_path / "kept", {})
    restored = model.restore_session(tmp_path / "kept").session
    answers = [model.chat(messages, sampling=SURE, session=each) for each in (session, restored)]
    assert [answer.run() for answer in answers] == [answers[0].content] * 2
    assert answers[0].content
    assert answers[1].timings.n_cached == answers[0].timings.n_cached > 0
