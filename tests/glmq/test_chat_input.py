"""Messages that `glmq chat` does not get from a terminal: one question, or a pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .talks import prompts_in, write_script
from .test_command_line import ENVIRONMENT, refused, run


@pytest.fixture
def answer(glm_4_7_path, tmp_path):
    """Runs `glmq chat` with a model that answers "said"; gives the only question, or the last error."""

    def run(*arguments, stdin=b""):
        program = str(Path(__file__).with_name("scripted_chat.py"))
        script = str(write_script(tmp_path, ["</think>said"]))
        done = subprocess.run(
            [sys.executable, program, script, "chat", str(glm_4_7_path), *arguments],
            input=stdin, capture_output=True, env=ENVIRONMENT, timeout=120,
        )  # fmt: skip
        if done.returncode:
            assert (done.returncode, done.stdout) == (2, b"")
            return done.stderr.decode().splitlines()[-1]
        assert done.stdout == b"said\n"
        [prompt] = prompts_in(tmp_path)
        (tmp_path / "prompts").unlink()
        return prompt.partition("<|user|>")[2].rpartition("<|assistant|>")[0]

    return run


def test_a_pipe_is_one_message(answer):
    text = "First line\n/tools\n\nlast line"
    assert answer(stdin=text.encode() + b"\n") == text


def test_a_byte_order_mark_is_no_part_of_the_message(answer):
    assert answer(stdin=b"\xef\xbb\xbfHi") == "Hi"
    assert answer("--lines", stdin=b"\xef\xbb\xbfHi\n") == "Hi"


def test_text_from_systems_that_write_utf_16(answer):
    assert answer(stdin="Grüße".encode("utf-16")) == "Grüße"
    assert answer("--lines", stdin="\nGrüße\r\n".encode("utf-16")) == "Grüße"


def test_one_question_is_answered(answer):
    assert answer("Why?") == "Why?"
    assert answer("-p", "Why?") == "Why?"
    assert answer("-p", "/tools") == "/tools"


def test_a_pipe_goes_before_the_question(answer):
    assert answer("-p", "Why?", stdin=b"A text.\n") == "A text.\n\nWhy?"


def test_a_line_that_begins_with_a_slash_is_text(answer, tmp_path):
    line = f"/save {tmp_path / 'talk.json'}"
    assert answer(stdin=line.encode()) == line
    assert answer("--lines", stdin=line.encode()) == line
    assert not (tmp_path / "talk.json").exists()


def test_files_are_read_as_standard_input_is(small_path, tmp_path):
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbfab")
    (tmp_path / "wide.txt").write_bytes("ab".encode("utf-16"))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xff")
    for name in ("marked.txt", "wide.txt"):
        assert run("tokenize", small_path, "-f", tmp_path / name)[1] == "256\n"
    for name, told in (("bytes.txt", "UTF-8"), (".", "not a file"), ("none.txt", "cannot be read")):
        assert told in refused("generate", small_path, "-f", tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    (
        ((), b"", "there is no message"),
        ((), b" \n", "there is no message"),
        (("-p", " "), b"", "there is no message"),
        (("Why?", "-p", "How?"), b"", "once"),
        (("Why?", "--lines"), b"", "--lines"),
        ((), b"\xff\xff", "UTF-8"),
        (("--lines",), b"\xff\n", "UTF-8"),
        ((), b"PK\x03\x04\x00\x00", "UTF-8"),
        ((), "no mark".encode("utf-16-le"), "UTF-8"),
        (("--lines",), b"zero \0 byte\n", "UTF-8"),
    ),
)
def test_messages_that_cannot_be_are_refused(answer, arguments, stdin, told):
    assert told in answer(*arguments, stdin=stdin)
