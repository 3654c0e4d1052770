"""JSON files of tools: what a command gets, what comes back, and files that are refused."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glmq.tools import ToolBox, load_tools
from glmq.tools.command import filled
from glmq.tools.processes import MAX_OUTPUT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the commands of these tests are POSIX ones")

SHOW = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]


def entry(command, properties=None, **more):
    function = {
        "name": "tool",
        "description": "A tool.",
        "parameters": {"type": "object", "properties": properties or {"a": {"type": "string"}}},
    }
    return {"type": "function", "function": function, "command": command, **more}


@pytest.fixture
def opened(tmp_path):
    """Writes a file of one tool and opens it."""

    def write(*arguments, time_limit=20, **more):
        path = tmp_path / "tools.json"
        path.write_text(json.dumps([entry(*arguments, **more)]))
        return ToolBox([load_tools(path)], time_limit=time_limit)

    return write


def gone(pid):
    """Whether a process has ended, or does so within some seconds."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_standard_output_is_the_result(opened):
    assert opened(["printf", "grün\n"]).call("tool", {}).text == "grün\n"
    assert opened("printf 'grün\n'").call("tool", {}).text == "grün\n"


def test_arguments_come_as_json_on_standard_input(opened):
    for command in (["cat"], "cat"):
        result = opened(command).call("tool", {"a": 'Ä "quoted"\nline', "b": [1, None]})
        assert json.loads(result.text) == {"a": 'Ä "quoted"\nline', "b": [1, None]}


def test_more_input_than_a_pipe_holds_harms_no_command_that_reads_none(opened):
    assert opened(["echo", "done"]).call("tool", {"a": "x" * 1_000_000}).text == "done\n"


INJECTIONS = (
    "; echo gone",
    "$(echo gone)",
    "`echo gone`",
    "' ; echo gone; '",
    '" ; echo gone; "',
    "| cat",
    "> file",
    "a b\tc\nd",
    "*",
    "~",
    "$HOME",
    "{b}",
    "{{a}}",
    "%s",
    "",
)


@pytest.mark.parametrize("value", INJECTIONS)
def test_a_value_stays_one_argument_as_it_is(opened, value):
    result = opened([*SHOW, "{a}", "--x={a}!"]).call("tool", {"a": value})
    assert json.loads(result.text) == [value, f"--x={value}!"]


@pytest.mark.parametrize("value", INJECTIONS)
def test_a_value_reaches_the_shell_only_as_a_variable(opened, value):
    assert opened('printf %s "$ARG_a"').call("tool", {"a": value}).text == (value or "(no output)")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))), st.text())
def test_placeholders_are_filled_once(a, b):
    assert filled(("p", "x{a}y{b}"), {"a": a, "b": b}) == ["p", f"x{a}y{b}"]


def test_values_that_are_no_strings_are_placed_as_json(opened):
    box = opened([*SHOW, "{a}", "{b}"], {"a": {}, "b": {}})
    assert json.loads(box.call("tool", {"a": {"ä": [1, None]}, "b": -5}).text) == ['{"ä": [1, null]}', "-5"]


def test_an_element_without_its_argument_is_left_out_and_defaults_count(opened):
    properties = {"a": {"type": "string"}, "n": {"type": "integer", "default": 7}}
    box = opened([*SHOW, "--a={a}", "{n}"], properties)
    assert json.loads(box.call("tool", {}).text) == ["7"]
    assert json.loads(box.call("tool", {"a": "x", "n": 1}).text) == ["--a=x", "1"]


def test_a_value_cannot_become_an_option_of_the_program(opened):
    result = opened([*SHOW, "{a}"]).call("tool", {"a": "--delete"})
    assert result.failed and "may not begin with '-'" in result.text
    assert json.loads(opened([*SHOW, "--", "{a}"]).call("tool", {"a": "--delete"}).text) == ["--", "--delete"]


def test_doubled_braces_and_other_braces_are_text(opened):
    box = opened([*SHOW, "{{a}}", "{print $1}", "{}"])
    assert json.loads(box.call("tool", {"a": "x"}).text) == ["{a}", "{print $1}", "{}"]


def test_variables_of_the_shell_for_names_and_values_of_all_kinds(opened):
    box = opened('echo "$ARG_user_id $ARG_list"', {"user-id": {}, "list": {}})
    assert box.call("tool", {"user-id": 3, "list": ["ä"]}).text == '3 ["ä"]\n'


def test_arguments_do_not_replace_the_variables_of_the_environment(opened):
    assert opened('echo "$HOME"', {"HOME": {}}).call("tool", {"HOME": "/tmp/evil"}).text != "/tmp/evil\n"


def test_a_value_that_no_argument_can_hold_is_a_failed_result(opened):
    result = opened([*SHOW, "{a}"]).call("tool", {"a": "nul\0byte"})
    assert result.failed and "cannot be run" in result.text


def test_a_failure_shows_exit_code_directory_and_both_streams(opened, tmp_path):
    result = opened("echo half; echo wrong >&2; exit 3", cwd=".").call("tool", {})
    assert result.failed
    assert result.text.splitlines() == [
        f"Error: the command ended with exit code 3 in {tmp_path.resolve()}",
        "standard error:",
        "wrong",
        "standard output:",
        "half",
    ]


def test_a_crash_names_the_signal(opened):
    assert "ended by signal 11" in opened("kill -SEGV $$").call("tool", {}).text


def test_no_output_says_so(opened):
    assert opened(["true"]).call("tool", {}).text == "(no output)"


def test_binary_output_is_not_shown_and_bad_unicode_replaced(opened):
    assert opened(["head", "-c", "10", "/dev/zero"]).call("tool", {}).text == "[10 bytes that are no text]"
    assert opened("printf 'a\\377b'").call("tool", {}).text == "a\ufffdb"


def test_a_long_output_is_cut(opened):
    text = opened("head -c 1000000 /dev/zero | tr '\\0' x").call("tool", {}).text
    assert text.endswith("\n[cut here: 980000 more characters were left out]")


def test_an_endless_output_is_stopped(opened):
    result = opened(["yes"], time_limit=60).call("tool", {})
    assert result.failed
    assert f"yes was stopped after {MAX_OUTPUT >> 20} MB of output" in result.text


@pytest.mark.parametrize("command", (["sleep", "600"], "sleep 600", "trap '' TERM INT; sleep 600; sleep 600"))
def test_a_hang_ends_at_the_time_limit(opened, command):
    result = opened(command, time_limit=0.3).call("tool", {})
    assert result.failed and "was stopped after 0.3 s" in result.text


def test_a_hang_is_ended_with_all_that_the_command_started(opened, tmp_path):
    result = opened("sleep 600 & echo $!; echo begun; wait", time_limit=0.5).call("tool", {})
    assert "begun" in result.text
    assert gone(int(result.text.splitlines()[-2]))


def test_what_a_command_leaves_running_is_ended_and_does_not_hold_up_the_result(opened):
    result = opened("sleep 600 & echo $!", time_limit=60).call("tool", {})
    assert not result.failed
    assert gone(int(result.text))


def test_ctrl_c_ends_the_command(opened, tmp_path):
    pid = tmp_path / "pid"
    box = opened("echo $$ > pid; sleep 600", cwd=".", time_limit=60)

    def interrupt():
        while not (pid.exists() and pid.read_text().strip()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        box.call("tool", {})
    assert gone(int(pid.read_text()))


def test_the_directory_begins_at_that_of_the_file(opened, tmp_path):
    assert opened(["pwd"], cwd=".").call("tool", {}).text == f"{tmp_path.resolve()}\n"
    assert opened(["pwd"]).call("tool", {}).text == f"{Path.cwd()}\n"


def test_a_program_may_lie_beside_the_file(opened, tmp_path):
    (tmp_path / "program").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "program").chmod(0o755)
    assert opened(["./program"], cwd=".").call("tool", {}).text == "mine\n"


def with_function(**changes):
    return {**entry(["cat"]), "function": {**entry(["cat"])["function"], **changes}}


def test_a_pattern_that_is_none_of_pythons_may_be_in_a_file(tmp_path):
    parameters = {"type": "object", "properties": {"text": {"type": "string", "pattern": r"^\p{L}+$"}}}
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([with_function(parameters=parameters)]))
    with ToolBox([load_tools(path)]) as box:
        assert list(box.unchecked) == ["tool"]
        assert box.call("tool", {"text": "é"}).text == '{"text": "é"}'


@pytest.mark.parametrize(
    ("content", "told"),
    (
        ("[\n{,}]", "tools.json:2: this is not JSON"),
        ("\x00", "this is not JSON"),
        ("{}", "holds no list"),
        ("[3]", "tool 1 is no object"),
        ([{"type": "function", "command": ["cat"]}], '"function" is no object'),
        ([entry(["cat"], timeout=3)], "'timeout' is not known"),
        ([with_function(name="two words")], '"name" must be a word'),
        ([with_function(name=None)], '"name" must be a word'),
        ([with_function(description=3)], "tool tool: \"description\" must be a text"),
        ([with_function(parameters={"type": "string"})], 'must be a JSON schema of "type": "object"'),
        ([with_function(parameters={"type": "object", "properties": {"a": {"type": "text"}}})],
         "is no JSON schema: properties.a.type"),
        ([with_function(parameters={"type": "object", "required": "a"})], "is no JSON schema: required"),
        ([with_function(parameters={"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}})],
         "is no JSON schema: properties.a.$ref: #/$defs/a is not in the schema"),
        ([entry(None)], '"command" must be a list'),
        ([entry([])], '"command" must be a list'),
        ([entry("")], '"command" must be a list'),
        ([entry(["cat", 3])], '"command" must be a list'),
        ([entry(["{a}"])], "the program must be fixed"),
        ([entry(["cat", "{b}"])], "{b} is none of its parameters; {{b}} gives the text"),
        ([entry("cat {a}")], 'takes "$ARG_a", not {a}'),
        ([entry(["no-such-program-at-all"])], "no-such-program-at-all is not found"),
        ([entry(["./nothing"])], "./nothing is not found"),
        ([entry(["cat"], cwd="nowhere")], '"cwd" must be a directory'),
    ),
)  # fmt: skip
def test_files_that_cannot_be_used_are_refused_in_one_line(tmp_path, content, told):
    path = tmp_path / "tools.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(GlmqError) as refusal:
        load_tools(path)
    assert told in str(refusal.value) and "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_missing_files_and_other_kinds_are_refused(tmp_path):
    with pytest.raises(GlmqError, match="no such file"):
        load_tools(tmp_path / "none.json")
    with pytest.raises(GlmqError, match=r"ends in \.json or \.py"):
        load_tools(tmp_path / "tools.yaml")


def test_what_schemas_without_parameters_and_strict_mean(tmp_path):
    tool = {"name": "now", "description": "The time.", "strict": True}
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([{"type": "function", "function": tool, "command": ["echo", "noon"]}]))
    box = ToolBox([load_tools(path)])
    assert box.definitions[0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert box.call("now", {}).text == "noon\n"
