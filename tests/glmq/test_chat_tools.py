"""Tools in a chat: rounds of calls, confirmation, and everything that can go wrong with them."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path

import pytest

import glmq
from glmq.cli.tool_options import open_toolbox
from glmq.constraint import json_schema_constraint

from .small_models import write_glm4moe
from .talks import call, new_talk, piped_chat, prompts_in
from .test_command_line import refused, run

TOOLS = '''
import time

def weather(city: str, days: int = 1) -> str:
    """The weather of a city.

    Args:
        city: its name
        days: how many
    """
    return f"sunny in {city}, for {days}"

def explode() -> str:
    "Fails."
    raise ValueError("boom")

def hang() -> str:
    "Never ends."
    time.sleep(600)
    return "late"
'''
COLOGNE = call("weather", city="Köln", days=2)


@pytest.fixture
def tools(tmp_path):
    path = tmp_path / "tools.py"
    path.write_text(TOOLS, encoding="utf-8")
    return path


@pytest.fixture
def talk_with(monkeypatch, glm_4_7, tools):
    """A talk with the tools; its model says the given replies."""
    talks = []

    def start(*replies, **more):
        talks.append(new_talk(monkeypatch, glm_4_7, replies, tools=tools, **more))
        return talks[-1]

    yield start
    for talk in talks:
        talk.chat.toolbox.close()


def results(talk):
    return [message["content"] for message in talk.messages if message["role"] == "tool"]


def test_thinking_calls_and_results_take_turns(talk_with):
    talk = talk_with(
        f"First.</think>I look.{COLOGNE}",
        f"Second.</think>{call('weather', city='Bonn')}{call('weather', city='Ulm', days=3)}",
        "Third.</think>It is sunny.",
        "Fourth.</think>Yes.",
    )
    talk.say("How is it?")
    assert talk.messages == [
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "First."},
        {"role": "tool", "name": "weather", "content": "sunny in Köln, for 2"},
        {"role": "assistant", "content": "", "reasoning_content": "Second."},
        {"role": "tool", "name": "weather", "content": "sunny in Bonn, for 1"},
        {"role": "tool", "name": "weather", "content": "sunny in Ulm, for 3"},
        {"role": "assistant", "content": "It is sunny.", "reasoning_content": "Third."},
    ]
    assert '"name": "weather"' in talk.prompts[0]
    assert f"<think>First.</think>I look.{COLOGNE}<|observation|>" in talk.prompts[2]
    assert "<think>Second.</think><tool_call>" in talk.prompts[2]
    talk.say("Really?")
    assert "First." not in talk.prompts[3] and COLOGNE in talk.prompts[3]


def test_4_6_writes_its_calls_in_lines(monkeypatch, glm_4_6, tools):
    written = "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Köln</arg_value>\n</tool_call>"
    replies = [f"\n<think>First.</think>\nI look.\n{written}", "\n<think>Second.</think>\nIt is sunny."]
    talk = new_talk(monkeypatch, glm_4_6, replies, tools=tools)
    with talk.chat.toolbox:
        talk.say("How is it?")
    assert results(talk) == ["sunny in Köln, for 1"]
    assert [talk.messages[i]["reasoning_content"] for i in (1, 3)] == ["First.", "Second."]
    assert [talk.messages[i]["content"].strip() for i in (1, 3)] == ["I look.", "It is sunny."]
    response = "<|observation|>\n<tool_response>\nsunny in Köln, for 1\n</tool_response>"
    assert talk.prompts[1].endswith(f"<think>First.</think>\nI look.\n{written}{response}<|assistant|>")


def test_a_round_reads_only_what_is_new(talk_with, glm_4_7):
    talk = talk_with(f"First.</think>I look.{COLOGNE}", "Second.</think>Sunny.")
    n_read = []
    chat = glm_4_7.chat
    glm_4_7.chat = lambda *arguments, **more: n_read.append(chat(*arguments, **more)) or n_read[-1]
    talk.say("How is it?")
    first, second = n_read
    assert second.timings.n_cached == len(first.generation.prompt) + len(first.generation.tokens) - 1


def test_a_file_of_commands(tmp_path, monkeypatch, glm_4_7):
    command = [sys.executable, "-c", "import json, sys; print(json.load(sys.stdin)['text'].upper())"]
    parameters = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    function = {"name": "upper", "description": "Capital letters.", "parameters": parameters}
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([{"type": "function", "function": function, "command": command}]))
    talk = new_talk(
        monkeypatch, glm_4_7, [f"</think>{call('upper', text='so it is')}", "</think>Done."], tools=path
    )
    assert talk.say("/tools") == "upper  Capital letters."
    talk.say("Do it")
    assert results(talk) == ["SO IT IS\n"]


def test_a_refusal_is_told_to_the_model_with_its_reason(talk_with):
    for refusal, told in (
        (False, "The user refused this call"),
        ("not on Sundays", "The user refused this call, saying: not on Sundays"),
    ):
        talk = talk_with(f"</think>{COLOGNE}", "</think>Well.", approve=lambda call, refusal=refusal: refusal)
        talk.say("How is it?")
        assert results(talk) == [told]
        assert told in talk.prompts[1]


@pytest.mark.parametrize(
    ("written", "told"),
    (
        (call("explode"), "ValueError: boom"),
        (call("hang"), "hang"),
        (call("weather"), "the arguments of weather cannot be used"),
        (call("weather", city="Ulm", days=True), "the arguments of weather cannot be used"),
        ("<tool_call>weather<arg_key>city</arg_key><arg_value>Kö", "the output ended"),
        ("<tool_call>weather", "the arguments of weather cannot be used"),
    ),
)
def test_a_call_that_fails_is_told_to_the_model_and_the_turn_goes_on(talk_with, capsys, written, told):
    talk = talk_with(f"</think>Let me see.{written}", "</think>That failed.", tool_timeout=0.5)
    talk.say("How is it?")
    [result] = results(talk)
    assert result.startswith("Error: ") and told in result
    assert told in capsys.readouterr().err
    assert talk.messages[-1]["content"] == "That failed."


def test_a_call_of_what_is_no_tool_is_text(talk_with):
    talk = talk_with(f"</think>Let me see.{call('dance')}")
    talk.say("How is it?")
    assert results(talk) == []
    assert talk.messages[-1]["content"] == f"Let me see.{call('dance')}"


def test_a_tool_works_again_after_one_that_hung(talk_with):
    talk = talk_with(f"</think>{call('hang')}", f"</think>{COLOGNE}", "</think>Sunny.", tool_timeout=0.5)
    talk.say("How is it?")
    assert results(talk)[1] == "sunny in Köln, for 2"


def test_rounds_have_a_limit(talk_with, capsys):
    talk = talk_with(*[f"</think>{COLOGNE}"] * 3, "</think>Enough.", max_rounds=2)
    talk.say("How is it?")
    assert len(talk.prompts) == 3
    assert "limit" in results(talk)[-1]
    assert "Ended after 2 rounds of tool calls; --max-rounds allows more." in capsys.readouterr().err
    talk.say("And?")
    assert [message["role"] for message in talk.messages[-4:]] == ["assistant", "tool", "user", "assistant"]
    assert talk.messages[-1]["content"] == "Enough."


def stop_in(monkeypatch, target, name, at=1):
    """Press Ctrl-C in the `at`-th call of a function."""
    function = getattr(target, name)
    n_calls = 0

    def pressed(*arguments, **more):
        nonlocal n_calls
        n_calls += 1
        if n_calls == at:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **more)

    monkeypatch.setattr(target, name, pressed)


@pytest.fixture
def at_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)


def test_ctrl_c_in_a_tool_leaves_a_result_for_every_call(talk_with, monkeypatch, at_a_terminal):
    talk = talk_with(f"</think>{COLOGNE}{COLOGNE}{COLOGNE}", "</think>All is well.")
    stop_in(monkeypatch, talk.chat.toolbox, "call", at=2)
    talk.say("How is it?")
    stopped = "Error: no result, the user stopped the turn"
    assert results(talk) == ["sunny in Köln, for 2", stopped, stopped]
    talk.say("And now?")
    assert talk.messages[-1]["content"] == "All is well."
    assert "stopped the turn" in talk.prompts[1]


def test_ctrl_c_in_a_call_that_is_being_written_keeps_the_text_before_it(
    talk_with, monkeypatch, at_a_terminal
):
    talk = talk_with(f"Hm.</think>I look.{COLOGNE}", "</think>All is well.")
    monkeypatch.setattr(talk.script, "stop_at", "<arg_value>K")
    talk.say("How is it?")
    assert talk.messages[1:] == [{"role": "assistant", "content": "I look.", "reasoning_content": "Hm."}]
    assert "tool_calls" not in talk.chat.messages[1]
    talk.say("And now?")
    assert talk.messages[-1]["content"] == "All is well."


def test_ctrl_c_in_an_answer_keeps_what_is_there(talk_with, monkeypatch, at_a_terminal):
    talk = talk_with("Hm.</think>All is <b", "</think>Yes.")
    monkeypatch.setattr(talk.script, "stop_at", "<b")
    talk.say("How is it?", "So?")
    assert [message["content"] for message in talk.messages] == ["How is it?", "All is <b", "So?", "Yes."]


def test_ctrl_c_before_an_answer_takes_the_message_back(talk_with, monkeypatch, at_a_terminal, capsys):
    talk = talk_with("</think>Yes.", "</think>Still yes.")
    monkeypatch.setattr(talk.script, "stop_at", "")
    talk.say("How is it?")
    assert talk.messages == []
    assert "Stopped before the answer began" in capsys.readouterr().err
    monkeypatch.setattr(talk.script, "stop_at", None)
    talk.say("How is it?")
    assert talk.messages[-1]["content"] == "Still yes."


BROKEN = {
    "syntax.py": ("def f(:\n", "syntax.py"),
    "raises.py": ("1 / 0\n", "raises.py"),
    "untyped.py": ("def f(x):\n    'Does.'\n", "untyped.py"),
    "broken.json": ("[{", "broken.json"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_of_tools_is_refused_at_the_start(tmp_path, glm_4_7_path, name):
    (tmp_path / name).write_text(BROKEN[name][0])
    assert BROKEN[name][1] in refused("chat", glm_4_7_path, "--tools", tmp_path / name, stdin="hi\n")


@pytest.mark.parametrize("command", ("/no/such/server", f"{shlex.quote(sys.executable)} -c pass"))
def test_a_broken_server_is_refused_at_the_start(glm_4_7_path, command):
    assert command.split()[0].strip("'") in refused("chat", glm_4_7_path, "--mcp", command, stdin="hi\n")


def test_tools_of_a_server(tmp_path, glm_4_7_path):
    server = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).with_name('mcp_server.py')))}"
    replies = [f"</think>{call('add', a=2, b=3)}", f"</think>{call('fail', why='no wind')}", "</think>Five."]
    code, out, err = piped_chat(tmp_path, glm_4_7_path, replies, "--mcp", server, "--yes", lines=["2 + 3?"])
    assert (code, out) == (0, "Five.\n"), err
    assert "<tool_response>5</tool_response>" in prompts_in(tmp_path)[1]
    assert "no wind" in prompts_in(tmp_path)[2]


def test_through_pipes_calls_need_yes(tmp_path, glm_4_7_path, tools):
    replies = [f"</think>I look.{COLOGNE}", "</think>Then not."]
    code, out, err = piped_chat(tmp_path, glm_4_7_path, replies, "--tools", tools, lines=["How is it?"])
    assert (code, out) == (0, "I look.\nThen not.\n")
    assert "start with --yes" in err
    code, out, err = piped_chat(
        tmp_path, glm_4_7_path, replies, "--tools", tools, "--yes", lines=["How is it?"]
    )
    assert (code, out) == (0, "I look.\nThen not.\n")
    assert "sunny in Köln, for 2" in err


def test_strict_calls_fit_the_schema_whatever_the_model_is(glm_4_7, tools):
    with open_toolbox([str(tools)], [], 5.0) as toolbox:
        definitions = [each for each in toolbox.definitions if each["function"]["name"] == "weather"]
        biases = {"<tool_call>": 30.0, "</arg_value>": 32.0, "<arg_key>": 20.0}
        bias = {glm_4_7.tokenizer.token_id(tag): value for tag, value in biases.items()}
        sampling = glmq.Sampling(seed=3, logit_bias=bias)
        answer = glm_4_7.chat(
            [{"role": "user", "content": "?"}], tools=definitions, thinking=False, strict_tools=True,
            sampling=sampling, max_tokens=300,
        )  # fmt: skip
        answer.run()
        complete = [each for each in answer.tool_calls if "problem" not in each]
        assert len(complete) + 1 >= len(answer.tool_calls) > 1  # the last may be cut
        for each in complete:
            assert toolbox.problem(each["function"]["name"], each["function"]["arguments"]) is None


@pytest.mark.parametrize(("likely", "names"), (("<tool_call>", ["now"]), ("7", [])))
def test_an_answer_is_a_strict_call_or_fits_the_constraint(glm_4_7, likely, names):
    (token,) = glm_4_7.tokenize(likely)
    answer = glm_4_7.chat(
        [{"role": "user", "content": "?"}], tools=[{"name": "now"}], strict_tools=True, thinking=False,
        constraint=json_schema_constraint({"enum": [7]}), logit_bias={token: 100.0}, max_tokens=20,
        max_tool_calls=1,
    )  # fmt: skip
    assert answer.run().strip() == ("" if names else "7")
    assert [call["function"]["name"] for call in answer.tool_calls] == names


def test_a_model_that_is_not_told_of_tools_is_refused(tmp_path, tools):
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    path = write_glm4moe(tmp_path / "plain.gguf", "Q8_0", chat_template=template)
    assert "tells of no tools" in refused("chat", path, "--tools", tools, stdin="hi\n")


def test_a_schema_that_cannot_be_followed_is_refused_at_the_start(glm_4_7_path):
    told = refused("chat", glm_4_7_path, "--json-schema", '{"type": "dance"}', stdin="hi\n")
    assert "the JSON schema is refused" in told


def test_what_of_a_tool_cannot_be_followed_is_told_once_and_in_the_answer(tmp_path, glm_4_7_path, glm_4_7):
    properties = {"a": {"type": "string", "pattern": "(?=a)"}, "b": {"type": "integer"}}
    function = {
        "name": "f",
        "description": "Does.",
        "parameters": {"type": "object", "properties": properties},
    }
    tool = {"type": "function", "function": function, "command": ["true"]}
    (tmp_path / "tools.json").write_text(json.dumps([tool]))
    note = (
        "the tool f, parameter a: any text is allowed:"
        " look-around, including look-ahead and look-behind, is not supported"
    )
    _, _, err = run(
        "chat", glm_4_7_path, "--tools", tmp_path / "tools.json", "--strict-tools", "-n", 2, stdin="hi\n"
    )
    assert err.count(note) == 1
    answer = glm_4_7.chat(
        [{"role": "user", "content": "?"}], tools=[{"type": "function", "function": function}],
        strict_tools=True, max_tokens=2,
    )  # fmt: skip
    assert answer.notes == (note,)
    plain = glm_4_7.chat([{"role": "user", "content": "?"}], max_tokens=2)
    assert plain.notes == ()


def test_answers_in_a_chat_can_be_held_to_a_schema(monkeypatch, glm_4_7):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    schema["additionalProperties"] = False
    constraint = json_schema_constraint(schema)
    talk = new_talk(monkeypatch, glm_4_7, None, constraint=constraint, think_budget=5)
    talk.say("one", "/nothink two")
    for answer in (talk.messages[1], talk.messages[3]):
        assert set(json.loads(answer["content"])) == {"ok"}
