"""Make session.svg: a real conversation with the demo model, as the terminal shows it. Needs tmux.

python docs/make_session.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
COLUMNS, LINES = 104, 22
TALK = (
    "Write a numbered list of three things that a lighthouse needs.",
    "Why does a lighthouse need a crew?",
    "/tokens",
)
SESSION = "glmq-picture"


def tmux(*arguments: str) -> str:
    """Run a tmux command; gives what it prints."""
    done = subprocess.run(["tmux", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def wait_for(text: str, count: int) -> None:
    """Wait until the screen shows a text so many times."""
    for _ in range(300):
        if tmux("capture-pane", "-p", "-t", SESSION).count(text) >= count:
            return
        time.sleep(0.1)
    raise SystemExit(f"{text!r} did not appear")


def main() -> None:
    """Talk, then take the picture."""
    tmux("new-session", "-d", "-s", SESSION, "-x", str(COLUMNS), "-y", str(LINES))
    try:
        tmux("send-keys", "-t", SESSION, "PS1='$ '; clear", "Enter")
        time.sleep(0.5)
        path = os.pathsep.join(str(ROOT / folder) for folder in (".", "kernels", "convert"))
        program = f"PYTHONPATH={path} {sys.executable} -m glmq"
        tmux("send-keys", "-t", SESSION, f"alias glmq='{program}'; clear", "Enter")
        time.sleep(1)
        tmux("send-keys", "-t", SESSION, "glmq chat --seed 5", "Enter")
        wait_for("/help lists", 1)
        for i, line in enumerate(TALK):
            wait_for("[prompt", i)
            time.sleep(0.5)
            tmux("send-keys", "-t", SESSION, "-l", line)
            tmux("send-keys", "-t", SESSION, "Enter")
        wait_for("turns.", 1)
        time.sleep(0.5)
        screen = tmux("capture-pane", "-p", "-e", "-t", SESSION)
    finally:
        tmux("kill-session", "-t", SESSION)
    console = Console(record=True, width=COLUMNS, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(Text.from_ansi(screen.rstrip()))
    console.save_svg(str(Path(__file__).with_name("session.svg")), title="glmq chat")


if __name__ == "__main__":
    main()
