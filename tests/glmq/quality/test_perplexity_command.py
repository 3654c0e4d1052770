"""`glmq perplexity` on the command line."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from glmq.cli import main

from .test_perplexity import TEXT


@pytest.fixture
def run(small_path, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT[:400], encoding="utf-8")

    def run_in_folder(*arguments, code=0):
        told = [str(tmp_path / each[1:]) if str(each).startswith("@") else str(each) for each in arguments]
        result = CliRunner().invoke(main, ["perplexity", str(small_path), *told])
        assert result.exit_code == code, result.output
        return result.output

    return run_in_folder


def test_a_text_is_measured_and_compared_with_a_base(run):
    told = run("-f", "@text.txt", "--ctx", 32, "--save-kl-base", "@base.kld")
    assert "perplexity " in told and " predictions in " in told
    told = run("--kl-base", "@base.kld")
    assert "mean KL divergence" in told and "chunks of 32 tokens" in told
    found = json.loads(run("--kl-base", "@base.kld", "--chunks", 3, "--json").splitlines()[-1])
    assert found["n_chunks"] == 3 and abs(found["kl"]["value"]) < 1e-3


def test_conversations_are_read_as_the_chat_template_writes_them(run, tmp_path):
    conversation = {"messages": [{"role": "user", "content": TEXT[:300]}]}
    (tmp_path / "talks.json").write_text(json.dumps([conversation] * 2))
    found = json.loads(run("-f", "@talks.json", "--ctx", 32, "--json").splitlines()[-1])
    (tmp_path / "plain.txt").write_text(TEXT[:300] * 2)
    plain = json.loads(run("-f", "@plain.txt", "--ctx", 32, "--json").splitlines()[-1])
    assert found["n_chunks"] >= plain["n_chunks"] and found["value"] != plain["value"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        ((), "give the text with -f FILE"),
        (("-f", "@text.txt", "--ctx", 400), "perplexity needs 800"),
        (("--kl-base", "@text.txt"), "no file of a base model's predictions"),
        (("-f", "@text.txt", "--save-kl-base", "@text.txt"), "is there already"),
        (("-f", "@text.txt", "--save-kl-base", "@text.txt", "--force"), "text.txt is a file of the source"),
        (("-f", "@text.txt", "--save-kl-base", ""), "a name of a file is empty"),
        (("--kl-base", "@none.kld"), "cannot be read"),
    ),
)
def test_what_cannot_be_is_told_in_one_line(run, arguments, told):
    assert told in run(*arguments, code=2).splitlines()[-1]


def test_predictions_are_read_from_a_file_alone(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.kld")
    assert "is not a file that could hold predictions" in run("--kl-base", "@pipe.kld", code=2)


def test_the_text_is_read_before_the_model_is_loaded(run, monkeypatch):
    monkeypatch.setattr("glmq.cli.perplexity.open_model", pytest.fail)
    assert "none.txt" in run("-f", "@none.txt", code=2)
