"""Shows an answer: steps as JSON in the first argument. ["wait"] goes on when a line comes in."""

from __future__ import annotations

import json
import select
import sys

from glmq.cli import terminal_answer
from glmq.cli.open_answer_view import open_answer_view


def wait_for_a_line() -> None:
    """Wait so that Ctrl-C is seen even if it comes just before the waiting begins."""
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        pass
    sys.stdin.readline()


def main() -> None:
    terminal_answer.LONGEST_INTERVAL = 0.0  # every piece is drawn
    settings, steps = json.loads(sys.argv[1])
    try:
        with open_answer_view(**settings) as view:
            for name, *arguments in steps:
                if name == "wait":
                    wait_for_a_line()
                else:
                    getattr(view, name)(*arguments)
    except KeyboardInterrupt:
        print("interrupted")
    print("over")


if __name__ == "__main__":
    main()
