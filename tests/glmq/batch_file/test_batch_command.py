"""`glmq batch`: streams, exit codes, and that it goes on where it was ended."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import glmq
from glmq.cli import main

from ..test_command_line import ENVIRONMENT
from .files import chat, line, message, results_of, write

MODEL = ("demo-tools", "--deterministic")


@pytest.fixture(autouse=True, scope="module")
def _with_kernels():
    """The model's kernels are compiled before anything is told of an answer."""
    glmq.load(MODEL[0]).close()


def run(*arguments, stdin=None):
    """(exit code, standard output, standard error) of `glmq batch`, in this process."""
    done = CliRunner().invoke(main, ["batch", *map(str, arguments)], input=stdin)
    return done.exit_code, done.stdout, done.stderr


def test_requests_are_answered_into_a_file(tmp_path):
    asked = write(tmp_path / "in.jsonl", [chat("a"), chat("b", "Hi")])
    code, out, err = run(asked, tmp_path / "out.jsonl", *MODEL)
    assert (code, out) == (0, "")
    assert err.startswith("2 requests: 2 answered, 0 failed; prompts ") and err.count("\n") == 1
    assert set(results_of(tmp_path / "out.jsonl")) == {"a", "b"}

    more = write(tmp_path / "in.jsonl", [chat("c"), chat("b", "Hi"), chat("a")])
    code, out, err = run(more, tmp_path / "out.jsonl", *MODEL, "--quiet")
    assert (code, out, err) == (0, "", "")
    assert set(results_of(tmp_path / "out.jsonl")) == {"a", "b", "c"}


def test_standard_input_and_output(tmp_path):
    code, out, err = run("-", "-", *MODEL, stdin=f"{chat('a')}\nnonsense\n")
    assert code == 1
    good, bad = sorted(map(json.loads, out.splitlines()), key=lambda result: result["custom_id"] is None)
    assert good["custom_id"] == "a" and good["error"] is None
    assert bad["error"]["message"].startswith("line 2: the line is not JSON")
    assert "2 requests: 1 answered, 1 failed" in err


def test_a_run_with_nothing_left_tells_how_the_earlier_one_went(tmp_path):
    asked = write(tmp_path / "in.jsonl", [line("a", "/v1/embeddings", {})])
    assert run(asked, tmp_path / "out.jsonl", *MODEL)[0] == 1
    code, out, err = run(asked, tmp_path / "out.jsonl", "no-such-model")
    assert (code, out) == (1, "")
    assert err == "Found 1 of 1 result, of an earlier run.\n"


@pytest.mark.parametrize(
    ("out", "told"),
    (
        ("in.jsonl", "holds the requests; name another file for the results"),
        (
            "notes",
            "notes is there already and does not hold results; name another file, or overwrite it with",
        ),
        ("none/out.jsonl", "there is no folder"),
    ),
)
def test_what_cannot_hold_results_is_refused(tmp_path, out, told):
    asked = write(tmp_path / "in.jsonl", [chat("a")])
    (tmp_path / "notes").write_text("mine")
    code, printed, err = run(asked, tmp_path / out, *MODEL)
    assert (code, printed) == (2, "")
    assert told in err and err.count("\n") == 1
    assert (tmp_path / "notes").read_text() == "mine"


def test_ctrl_c_keeps_what_was_answered_and_tells_how_to_go_on(tmp_path):
    asked = write(tmp_path / "in.jsonl", [chat(str(i), max_tokens=30) for i in range(40)])
    process = started(asked, tmp_path / "out.jsonl")
    wait_for_results(tmp_path / "out.jsonl", 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    found = results_of(tmp_path / "out.jsonl")
    assert f"Stopped with {len(found)} of 40 results. The same command goes on from there." in err
    assert "Traceback" not in err


def started(asked, results):
    command = [sys.executable, "-m", "glmq", "batch", str(asked), str(results), *MODEL, "--parallel", "4"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def wait_for_results(path, n):
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < n:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("n_kills", (2, pytest.param(20, marks=pytest.mark.slow)))
def test_a_killed_run_goes_on_with_nothing_lost_and_nothing_twice(tmp_path, n_kills):
    n_requests = 12 * n_kills
    lines = [chat(f"r{i}", f"Tell me about {i}.", max_tokens=8) for i in range(n_requests)]
    asked, out = write(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl"
    chance = random.Random(n_kills)
    n_found = 0
    for _ in range(n_kills):
        process = started(asked, out)
        wait_for_results(out, n_found + 1 + chance.randrange(3))
        time.sleep(chance.random() * 0.03)
        process.kill()
        process.communicate()
        n_now = out.read_bytes().count(b"\n")
        assert n_found < n_now < n_requests
        n_found = n_now
    assert run(asked, out, *MODEL)[0] == 0
    assert run(asked, tmp_path / "unbroken.jsonl", *MODEL)[0] == 0
    results, unbroken = results_of(out), results_of(tmp_path / "unbroken.jsonl")
    assert results.keys() == {f"r{i}" for i in range(n_requests)}
    assert {name: message(each) for name, each in results.items()} == {
        name: message(each) for name, each in unbroken.items()
    }
