"""Prints each message that is typed, as JSON; /edit and /ask try the editor and a question."""

from __future__ import annotations

import json
import os

from glmq.cli.completion import paths, words
from glmq.cli.message_input import messages
from glmq.cli.terminal import ask, edit_text


def main() -> None:
    commands = {
        "/help": None,
        "/load": paths,
        "/set": words(["temperature", "top_k"]),
        "/edit": None,
        "/ask": None,
    }
    keep_history = "NO_HISTORY" not in os.environ
    for text in messages(commands, lambda: "12 of 100 tokens", keep_history):
        if text == "/edit":
            text = edit_text("initial\n")
        elif text == "/ask":
            text = ask("Run it?", ["yes", "no", "always"])
        print("got", json.dumps(text))
    print("over")


if __name__ == "__main__":
    main()
