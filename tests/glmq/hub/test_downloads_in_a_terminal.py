"""Downloads at a terminal: the question before a large one, the bar, and Ctrl-C."""

from __future__ import annotations

import sys
import time

import pytest

from ..test_command_line import ENVIRONMENT

pexpect = pytest.importorskip("pexpect")

REPO = "tiny/Air-GGUF"
PROGRAM = """
import sys
from glmq.cli import hub_download, main
from glmq.hub import download
hub_download.LARGE = 1_000_000
download.PIECE_BYTES = 100_000
download.CONNECTIONS = 1
main(sys.argv[1:])
"""


@pytest.fixture
def start(hub, small_path, tmp_path):
    """Starts `glmq` in a terminal, with smaller pieces, and 1 MB for large."""
    hub.repos[REPO] = {"air-Q4_K_M.gguf": small_path.read_bytes()}
    environment = ENVIRONMENT | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "TERM": "dumb",
        "COLUMNS": "200",
    }
    running = []

    def program(*arguments):
        command = ["-c", PROGRAM, *arguments]
        running.append(pexpect.spawn(sys.executable, command, env=environment, encoding="utf-8", timeout=60))
        return running[-1]

    yield program
    for process in running:
        process.close(force=True)


def ended(process):
    """(what it printed last, exit code)"""
    process.expect(pexpect.EOF)
    process.close()
    return process.before, process.exitstatus


def test_a_no_downloads_nothing(start, hub):
    process = start("tokenize", REPO, "ab")
    process.expect(r"tiny/Air-GGUF:Q4_K_M \(6 MB\) is not here yet. Download it\? \[yes/no\]")
    process.sendline("no")
    told, code = ended(process)
    assert (code, hub.asked("store")) == (2, [])
    assert f"glmq: error: {REPO} was not downloaded" in told


def test_a_yes_downloads_and_the_command_goes_on(start):
    process = start("tokenize", REPO, "ab")
    process.expect("Download it")
    process.sendline("yes")
    process.expect(r"downloading tiny/Air-GGUF:Q4_K_M \(6 MB\)")
    told, code = ended(process)
    assert (code, told.split()[-1]) == (0, "256")


def test_ctrl_c_keeps_what_has_come_and_pull_goes_on(start, hub, tmp_path):
    hub.seconds = 0.1
    process = start("pull", REPO)
    process.expect(r"downloading tiny/Air-GGUF:Q4_K_M \(6 MB\)")
    while len(hub.asked("store")) < 5:
        time.sleep(0.01)
    process.sendintr()
    told, code = ended(process)
    assert "Stopped; what has come is kept, and the same command goes on from there." in told
    assert "Traceback" not in told
    assert code == 130
    [kept] = (tmp_path / "home").rglob("*.incomplete")
    n_kept = kept.stat().st_size
    assert n_kept >= 200_000
    hub.seconds = 0
    hub.requests.clear()
    assert ended(start("pull", REPO))[1] == 0
    ranges = [each.headers["range"] for each in hub.requests if each.host == "store"]
    assert ranges[0].startswith(f"bytes={n_kept}-")
