"""What drafts gain: rows of docs/numbers.md, as Markdown.

python bench/drafting.py [MODEL] [--draft HOW] [--tokens 128] [--kind editing] [--first N] [--last N]

The model answers each question of bench/drafting_prompts.py with drafts and without, in turn in one process;
the best of each of the rounds counts. Greedy, without penalties, so that both give the same tokens, which is
checked.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass

import glmq
from bench.drafting_prompts import EDITING, FREE
from bench.numbers_page import machine
from glmq.answer_costs import Timings

GREEDY = glmq.Sampling(temperature=0, repeat_penalty=1, presence_penalty=0, frequency_penalty=0)
ROUNDS = 2


@dataclass(frozen=True)
class Row:
    """An answer without drafts, and the same with them."""

    question: str
    plain: Timings
    drafted: Timings

    @property
    def gain(self) -> float:
        """How many times as fast with drafts."""
        return self.plain.decode_seconds / self.drafted.decode_seconds


def answered(model: glmq.Model, question: str, n_tokens: int) -> tuple[list[int], Timings]:
    """An answer's tokens, and what it has cost."""
    answer = model.chat([{"role": "user", "content": question}], sampling=GREEDY, max_tokens=n_tokens)
    answer.run()
    assert isinstance(answer.generation, glmq.Generation)
    return answer.generation.tokens, answer.timings


def measured(plain: glmq.Model, drafting: glmq.Model, question: str, n_tokens: int) -> Row:
    """The best of some rounds of each, in turn."""
    best: list[Timings | None] = [None, None]
    tokens: list[list[int]] = [[], []]
    for _ in range(ROUNDS):
        for i, model in enumerate((plain, drafting)):
            tokens[i], timings = answered(model, question, n_tokens)
            known = best[i]
            if known is None or timings.decode_seconds < known.decode_seconds:
                best[i] = timings
    if tokens[0] != tokens[1]:
        raise SystemExit(f"the answers to {question[:40]!r} differ")
    assert best[0] is not None and best[1] is not None
    return Row(question, best[0], best[1])


def line(row: Row) -> str:
    """A row of the table."""
    question = " ".join(row.question.split())[:48].replace("|", " ")
    return (
        f"| {question} | {row.plain.n_generated} | {row.plain.decode_per_second:.1f}"
        f" | {row.drafted.decode_per_second:.1f} | {row.gain:.2f} | {row.drafted.n_accepted} of"
        f" {row.drafted.n_drafted} | {row.drafted.draft_gain:.2f} |"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--draft", default="auto")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--kind", choices=("editing", "free"), action="append")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=10)
    options = parser.parse_args()
    print(f"{machine()}; {options.model}, drafts: {options.draft}\n")
    with (
        glmq.load(options.model, draft="off", n_ctx=4096) as plain,
        glmq.load(options.model, draft=options.draft, n_ctx=4096) as drafting,
    ):
        for kind in options.kind or ("editing", "free"):
            questions = {"editing": EDITING, "free": FREE}[kind][options.first : options.last]
            print(f"| {kind} | tokens | plain tokens/s | with drafts | gain | came true | its own estimate |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            rows = []
            for question in questions:
                rows.append(measured(plain, drafting, question, options.tokens))
                print(line(rows[-1]), flush=True)
            gains = [row.gain for row in rows]
            print(f"\nmedian {statistics.median(gains):.2f}, least {min(gains):.2f}, most {max(gains):.2f}\n")
        print(drafting.drafts.line())


if __name__ == "__main__":
    main()
