"""No grammar hangs or crashes the program, and signals are seen while one is compiled."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .grammars_to_give_up import MAKERS, TOOLS

ROOT = Path(__file__).parents[2]
CASES = {kind: list(cases) for kind, (cases, _) in MAKERS.items()} | {"tools": list(TOOLS)}


@pytest.mark.parametrize("kind", CASES)
def test_every_grammar_is_followed_or_refused_in_a_line(kind):
    child = subprocess.run(
        [sys.executable, "-m", "tests.glmq.grammars_to_give_up", kind, "1"],
        capture_output=True, text=True, timeout=300, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (child.returncode, child.stderr) == (0, "")
    lines = child.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == CASES[kind]
    for line in lines:
        assert line.partition(": ")[2].startswith(("followed", "refused, the "))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_compilation(number):
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.glmq.grammars_to_give_up", "schema", "600"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.read(len("40 patterns: ")) == b"40 patterns: "
        child.send_signal(number)
        child.communicate(timeout=60)
        assert child.returncode != 0
    finally:
        child.kill()
