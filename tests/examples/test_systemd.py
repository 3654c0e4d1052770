"""The unit for systemd is one that systemd takes."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from ..glmq.test_command_line import ROOT


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_has_nothing_to_say_against_the_unit(tmp_path):
    program = tmp_path / ".local" / "bin" / "glmq"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", ROOT / "examples" / "systemd" / "glmq.service"],
        env=os.environ | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
