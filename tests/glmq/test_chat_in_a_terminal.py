"""`glmq chat` in a real terminal: line editing, streaming, commands, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import sys

import pytest
from glmq_kernels.jit.cache_folder import cache_folder

from .test_command_line import ENVIRONMENT

pexpect = pytest.importorskip("pexpect")


@pytest.fixture
def chat(small_path, tmp_path):
    """Starts a chat; what it shows is in its `before`, `after` and the returned log."""
    started = []
    (tmp_path / "kernels").symlink_to(cache_folder() / "kernels")

    def start(*arguments):
        process = pexpect.spawn(
            sys.executable,
            ["-m", "glmq", "chat", str(small_path), "--seed", "1", *arguments],
            env=ENVIRONMENT | {"TERM": "xterm", "GLMQ_CACHE": str(tmp_path), "PROMPT_TOOLKIT_NO_CPR": "1"},
            encoding="utf-8",
            timeout=60,
            dimensions=(24, 120),
        )
        started.append(process)
        process.expect("/help lists commands")
        process.expect("> ")
        return process

    yield start
    for process in started:
        process.close(force=True)


def leave(process):
    process.sendline("/quit")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0


def test_a_conversation(chat):
    process = chat("-n", "8")
    process.sendline("Hello")
    process.expect(r"\[prompt (\d+) tokens, [\d.]+ tokens/s · answer \d+ tokens, [\d.]+ tokens/s\]")
    first_prompt = int(process.match[1])
    process.sendline("And more")
    process.expect(r"\[prompt (\d+) tokens \(and (\d+) cached\)")
    assert int(process.match[2]) >= first_prompt
    leave(process)


def test_commands_and_their_errors_do_not_end_it(chat):
    process = chat()
    process.sendline("/help")
    process.expect("/save FILE +write the conversation")
    process.sendline("/dance")
    process.expect("there is no command /dance")
    process.sendline("/system Be brief.")
    process.expect("system message is set")
    process.sendline("/system")
    process.expect("Be brief")
    process.sendline("/load /no/such/file")
    process.expect("cannot be read")
    leave(process)


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(chat):
    process = chat("--ctx", "512", "--temp", "3", "--top-k", "0", "--min-p", "0", "--top-p", "1")
    for _ in range(20):  # until an answer is long enough to be stopped
        process.sendline("Hello")
        process.expect("Hello")
        process.sendintr()
        if process.expect([r"answer \d+ tokens", "Ctrl-C again", "Stopped before"]) == 0:
            break
        process.sendline("")
        process.sendline("/clear")
        process.expect("begins anew")
    process.sendline("/clear")
    process.expect("begins anew")
    leave(process)


def test_ctrl_d_and_ctrl_c_twice_leave(chat):
    process = chat()
    process.sendeof()
    process.expect(pexpect.EOF)
    process = chat()
    process.sendintr()
    process.expect("Ctrl-C again")
    process.sendintr()
    process.expect(pexpect.EOF)


def test_history_is_kept_between_chats(chat):
    process = chat("-n", "2")
    process.sendline("a memorable message")
    process.expect("tokens/s")
    leave(process)
    process = chat("-n", "2")
    process.send("\x1b[A\x1b[A")  # arrow up, past /quit
    process.expect("a memorable message")


def test_a_full_context_says_what_to_do(chat):
    process = chat("--ctx", "48", "--temp", "3", "--top-k", "0", "--min-p", "0", "--top-p", "1")
    process.sendline("x" * 60)
    process.expect("--ctx")
    process.sendline("/clear")
    process.expect("begins anew")
    leave(process)
