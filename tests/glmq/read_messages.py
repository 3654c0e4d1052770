"""Prints each message that is typed, as JSON; /edit and /ask try the editor and a question."""

from __future__ import annotations

import json

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
    for text in messages(commands, status=lambda: "12 of 100 tokens"):
        if text == "/edit":
            text = edit_text("initial\n")
        elif text == "/ask":
            text = ask("Run it?", ["yes", "no", "always"])
        print("got", json.dumps(text))
    print("over")


if __name__ == "__main__":
    main()
