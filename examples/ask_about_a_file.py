"""Ask about a text file: python examples/ask_about_a_file.py FILE [QUESTION ...] [--model MODEL]

Without a question it asks for one after another. The file is read by the model once, before the first answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import glmq

SYSTEM = "Answer questions about the file that the user gives. Say so when it does not tell."


def typed() -> Iterator[str]:
    """Questions line by line, until an empty one or the end."""
    while True:
        print("? ", end="", flush=True, file=sys.stderr)
        if not (question := sys.stdin.readline().strip()):
            return
        yield question


def reading(n_done: int, n_wanted: int) -> None:
    """Tell how much of the prompt the model has read."""
    print(f"\rreading: {n_done} of {n_wanted} tokens", end="", flush=True, file=sys.stderr)
    if n_done == n_wanted:
        print(file=sys.stderr)


def main() -> None:
    """Answer the questions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("question", nargs="*")
    parser.add_argument("--model", default="demo")
    given = parser.parse_args()
    with (
        glmq.load(given.model) as model,
        model.conversation(SYSTEM, options=glmq.ChatOptions(temperature=0), progress=reading) as chat,
    ):
        chat.attach_file(given.file)
        for question in given.question or typed():
            answer = chat.send(question)
            for piece in answer:
                print(piece, end="", flush=True)
            print()
            usage = answer.usage
            print(
                f"[{usage.cached_tokens} of {usage.prompt_tokens} tokens were read before]", file=sys.stderr
            )


if __name__ == "__main__":
    try:
        main()
    except glmq.GlmqError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
