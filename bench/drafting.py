"""What drafts gain: rows of docs/numbers.md, as Markdown.

python bench/drafting.py [MODEL] [--draft HOW] [--tokens 64] [--rounds 8] [--kind editing] [--rows FILE]
                         [--ctx 4096]

The model answers each question of bench/drafting_prompts.py with drafts, without, and once more without, in
one process. In each round all three answer, one after the other, and in the next round in the opposite
order. What counts is the median of the rounds' ratios. The two without drafts do the same work, so their
ratio tells how far the others are noise. A second opinion is the processor's time, which other programs
disturb less.

Greedy, without penalties, so that all give the same tokens, which is checked. --first, --last: only these
questions. --rows: keeps the rows in a file, those of several commands, and sums up all that it holds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import glmq
from bench.drafting_prompts import EDITING, FREE
from bench.numbers_page import machine

GREEDY = glmq.Sampling(temperature=0, repeat_penalty=1, presence_penalty=0, frequency_penalty=0)
HEADS = (
    "tokens",
    "tokens/s",
    "gain",
    "of rounds",
    "by CPU time",
    "plain again",
    "came true",
    "its own estimate",
)


@dataclass(frozen=True)
class Row:
    """A question's answer with drafts beside the one without, and that beside itself.

    n_tokens, per_second: of the answer without drafts. gains: how many times as fast with them, of each
    round; by_cpu: the same by processor time. same: of the two without drafts. estimate: of the gain, by
    what runs have cost.
    """

    kind: str
    question: str
    n_tokens: int
    per_second: float
    gains: list[float]
    by_cpu: list[float]
    same: list[float]
    n_accepted: int
    n_drafted: int
    estimate: float

    def line(self) -> str:
        """Of the table."""
        question = " ".join(self.question.split())[:44].replace("|", " ")
        values = (
            f"{self.n_tokens}",
            f"{self.per_second:.0f}",
            f"{statistics.median(self.gains):.2f}",
            spread(self.gains),
            f"{statistics.median(self.by_cpu):.2f}",
            f"{statistics.median(self.same):.2f} ({spread(self.same)})",
            f"{self.n_accepted} of {self.n_drafted}",
            f"{self.estimate:.2f}",
        )
        return f"| {question} | {' | '.join(values)} |"


@dataclass(frozen=True)
class Answer:
    """tokens: its text. seconds: of all but the prompt. cpu: seconds of the process, with the prompt."""

    tokens: list[int]
    seconds: float
    cpu: float
    n_accepted: int
    n_drafted: int
    estimate: float


def answered(model: glmq.Model, question: str, n_tokens: int) -> Answer:
    """An answer, and what it has cost."""
    answer = model.chat([{"role": "user", "content": question}], sampling=GREEDY, max_tokens=n_tokens)
    began = time.process_time()
    answer.run()
    cpu = time.process_time() - began
    assert isinstance(answer.generation, glmq.Generation)
    cost = answer.timings
    return Answer(
        answer.generation.tokens, cost.decode_seconds, cpu, cost.n_accepted, cost.n_drafted, cost.draft_gain
    )


def measured(models: Sequence[glmq.Model], kind: str, question: str, n_tokens: int, n_rounds: int) -> Row:
    """The rounds of a question. models: without drafts, with them, without them again."""
    for model in models:
        answered(model, question, 2)  # the prompt is read
    rounds: list[tuple[Answer, ...]] = []
    for i in range(n_rounds):
        found: dict[int, Answer] = {}
        for place in (range(3), reversed(range(3)))[i % 2]:
            found[place] = answered(models[place], question, n_tokens)
        rounds.append((found[0], found[1], found[2]))
    if any(each.tokens != rounds[0][0].tokens for answers in rounds for each in answers):
        raise SystemExit(f"the answers to {question[:40]!r} differ")
    plain, drafted, again = zip(*rounds, strict=True)
    means = [(a.seconds + b.seconds) / 2 for a, b in zip(plain, again, strict=True)]
    cpu_means = [(a.cpu + b.cpu) / 2 for a, b in zip(plain, again, strict=True)]
    return Row(
        kind,
        question,
        len(plain[0].tokens),
        len(plain[0].tokens) / statistics.median(means),
        [mean / each.seconds for mean, each in zip(means, drafted, strict=True)],
        [mean / each.cpu for mean, each in zip(cpu_means, drafted, strict=True)],
        [a.seconds / b.seconds for a, b in zip(plain, again, strict=True)],
        drafted[-1].n_accepted,
        drafted[-1].n_drafted,
        drafted[-1].estimate,
    )


def spread(values: Sequence[float]) -> str:
    """In which range all are."""
    return f"{min(values):.2f} to {max(values):.2f}"


def summary(rows: Sequence[Row]) -> str:
    """Of all questions of a kind: the medians of each, and over all rounds."""

    def told(name: str, values: Iterable[Sequence[float]]) -> str:
        medians = [statistics.median(each) for each in values]
        return f"{name} {statistics.median(medians):.2f} ({spread(medians)})"

    return "; ".join(
        (
            told(
                f"{len(rows)} {rows[0].kind} questions, median (least to most): gain",
                (row.gains for row in rows),
            ),
            told("by CPU time", (row.by_cpu for row in rows)),
            told("plain beside plain", (row.same for row in rows)),
        )
    )


def kept(path: Path) -> list[Row]:
    """The rows of a file, the last of each question."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [Row(**json.loads(line)) for line in lines]
    return list({(row.kind, row.question): row for row in rows}.values())


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--draft", default="auto")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--ctx", type=int, default=4096)
    parser.add_argument("--kind", choices=("editing", "free"), action="append")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=10)
    parser.add_argument("--rows", type=Path)
    options = parser.parse_args()
    print(f"{machine()}; {options.model}, drafts: {options.draft}\n")
    with ExitStack() as stack:
        models = [
            stack.enter_context(glmq.load(options.model, draft=draft, n_ctx=options.ctx))
            for draft in ("off", options.draft, "off")
        ]
        for kind in options.kind or ("editing", "free"):
            questions = {"editing": EDITING, "free": FREE}[kind][options.first : options.last]
            print(f"| {kind} | {' | '.join(HEADS)} |\n|{' --- |' * (len(HEADS) + 1)}")
            rows = []
            for question in questions:
                rows.append(measured(models, kind, question, options.tokens, options.rounds))
                print(rows[-1].line(), flush=True)
                if options.rows is not None:
                    with options.rows.open("a") as file:
                        file.write(json.dumps(asdict(rows[-1])) + "\n")
            if options.rows is not None:
                rows = [row for row in kept(options.rows) if row.kind == kind]
            print(f"\n{summary(rows)}\n")
        print(models[1].drafts.line())


if __name__ == "__main__":
    main()
