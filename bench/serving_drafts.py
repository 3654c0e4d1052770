"""What drafts gain or cost a server with several clients: rows of docs/numbers.md, as Markdown.

python bench/serving_drafts.py [--kind editing] [--clients 1 --clients 8] [--rounds 6] [--tokens 64]

Two servers of the demo model, one with drafts and one without. In each round the clients ask one of them,
the other, the other again and the first again: each client two questions of bench/drafting_prompts.py, one
after the other. What counts is the median of the rounds' ratios of tokens per second, all clients together.
How far the two times without drafts differ in a round tells how much of that is noise.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time

import glmq
from bench.drafting import spread
from bench.drafting_prompts import EDITING, FREE
from bench.numbers_page import machine
from bench.serving import answer, get, serving
from glmq.model_file import model_file

N_QUESTIONS = 2
"""That each client asks."""

GREEDY = {"temperature": 0, "repeat_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}

QUESTIONS = {"editing": EDITING, "free": FREE}


def prompts(model: glmq.Model, kind: str) -> list[list[int]]:
    """The questions of a kind as a chat asks them, in tokens."""
    return [
        model.tokenize(model.chat_template.render([{"role": "user", "content": question}]))
        for question in QUESTIONS[kind]
    ]


def tokens_per_second(port: int, asked: list[list[list[int]]], n_tokens: int) -> float:
    """Of all clients together, from the first question to the last token. asked: prompts of each client."""
    counts: list[int] = []

    def ask(prompts: list[list[int]]) -> None:
        for prompt in prompts:
            counts.append(answer(port, prompt=prompt, max_tokens=n_tokens, **GREEDY)[0])

    threads = [threading.Thread(target=ask, args=(prompts,)) for prompts in asked]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def round_of(ports: tuple[int, int], asked: list[list[list[int]]], n_tokens: int) -> tuple[float, ...]:
    """Tokens per second without drafts, with, with again, without again."""
    plain, drafting = ports
    return tuple(tokens_per_second(port, asked, n_tokens) for port in (plain, drafting, drafting, plain))


def came_true(port: int) -> str:
    """What a server's page of metrics tells of its drafts."""
    lines = get(port, "/metrics").decode().splitlines()
    return ", ".join(line for line in lines if "spec_decode" in line and not line.startswith("#"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kind", choices=tuple(QUESTIONS), action="append")
    parser.add_argument("--clients", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    file = model_file("demo")
    print(f"{machine()}; glmq serve demo, drafts off and auto\n")
    print("| questions | clients | tokens/s | with drafts | gain | of rounds | plain beside plain |")
    print("|" + " --- |" * 7)
    with glmq.load(file, draft="off") as model:
        asked = {kind: prompts(model, kind) for kind in options.kind or QUESTIONS}
    with (
        serving("glmq", file, options.threads, "--draft", "off") as plain,
        serving("glmq", file, options.threads, "--draft", "auto") as drafting,
    ):
        for kind, of_kind in asked.items():
            for port in (plain, drafting):  # every prompt is read once
                tokens_per_second(port, [of_kind], 2)
            for n_clients in options.clients or (1, 2, 4, 8):
                found = []
                for i in range(options.rounds):
                    of_clients = [
                        [of_kind[(n_clients * i + client + 5 * k) % len(of_kind)] for k in range(N_QUESTIONS)]
                        for client in range(n_clients)
                    ]
                    found.append(round_of((plain, drafting), of_clients, options.tokens))
                    print(
                        kind, n_clients, *(f"{each:.1f}" for each in found[-1]), file=sys.stderr, flush=True
                    )
                print(row(kind, n_clients, found), flush=True)
        print(f"\nThe server with drafts tells: {came_true(drafting)}")


def row(kind: str, n_clients: int, rounds: list[tuple[float, ...]]) -> str:
    """Of the table, of rounds as of `round_of`."""
    gains = [(b + c) / (a + d) for a, b, c, d in rounds]
    same = [a / d for a, _, _, d in rounds]
    plain = statistics.median((a + d) / 2 for a, _, _, d in rounds)
    drafted = statistics.median((b + c) / 2 for _, b, c, _ in rounds)
    told = (
        kind,
        str(n_clients),
        f"{plain:.0f}",
        f"{drafted:.0f}",
        f"{statistics.median(gains):.2f}",
        spread(gains),
        f"{statistics.median(same):.2f} ({spread(same)})",
    )
    return f"| {' | '.join(told)} |"


if __name__ == "__main__":
    main()
