"""Ask the demo model twenty ordinary first questions, five seeds each, and keep what it says.

python bench/first_questions.py [docs/first-questions.md]

Each answer is one run of `glmq chat demo --seed N` with nothing else set. It is sensible when it says what
the question's pattern asks for (a fact, or words that an answer to this question holds), in English, without
running into the limit, without a loop and without rambling. Patterns are no readers: read the page too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "first-questions.md"
SEEDS = range(1, 6)
LIMIT = 512
MOST_REPEATS = 5
"""How often two words may stand together before an answer counts as rambling."""

QUESTIONS = {
    "What is the capital of France?": r"\bParis\b",
    "Hello!": r"(?i)\b(hello|hi|welcome|help|assist)\b",
    "Who are you?": r"(?i)\b(AI|assistant|SmolLM|help|assist)",
    "What can you do?": r"(?i)\b(help|assist)",
    "Why is the sky blue?": r"(?i)\b(scatter|light|atmospher)",
    "What is 2 + 2?": r"\b(4|four)\b",
    "List three fruits.": r"(?i)(apple|banana|orange|berr|grape|mango|peach|pear)",
    "How do I boil an egg?": r"(?i)(boil|water).*(egg|minutes)",
    "Write a short poem about the sea.": r"(?i)\b(sea|ocean|waves?)\b",
    "Write a short story about a cat.": r"(?i)\b(cat|kitten|feline)",
    "Give me three tips for sleeping better.": r"(?i)(sleep|bed).*",
    "What is Python?": r"(?i)programming language",
    "How many days are in a week?": r"(?i)\b(7|seven)\b",
    "What is the opposite of hot?": r"(?i)\bcold",
    "Explain photosynthesis in one sentence.": r"(?i)(light|energy|carbon dioxide|plants|sun)",
    "What is the capital of Germany?": r"\bBerlin\b",
    "Name three animals.": r"(?i)(cat|dog|bear|lion|elephant|tiger|horse|wolf|bird)",
    "What is machine learning?": r"(?i)(data|algorithm|artificial intelligence)",
    "Write an email asking for a day off.": r"(?i)(dear|subject|hi|hello)\b.*\b(day|leave|off)\b",
    "What is water made of?": r"(?i)hydrogen",
}


@dataclass(frozen=True)
class Said:
    """One answer, and whether it holds what it should, and where it ended."""

    text: str
    sensible: bool
    n_tokens: int
    looped: bool


def ask(question: str, seed: int) -> Said:
    """Ask as a user does who has set nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "glmq", "chat", "demo", "--seed", str(seed)],
        input=question + "\n", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.search(r"answer (\d+) tokens", done.stderr)
    assert found, done.stderr
    n_tokens, looped = int(found[1]), "repeated itself" in done.stderr
    text = done.stdout.strip()
    return Said(text, is_sensible(question, text) and not looped and n_tokens < LIMIT, n_tokens, looped)


def is_sensible(question: str, text: str) -> bool:
    """Whether a text says what a question asks for, in English and without rambling."""
    in_english = sum(letter.isascii() for letter in text) >= 0.98 * len(text)
    words = re.findall(r"\w+", text.lower())
    most = max(Counter(pairwise(words)).values(), default=0)
    return re.search(QUESTIONS[question], text, re.DOTALL) is not None and in_english and most <= MOST_REPEATS


def ask_all() -> dict[tuple[str, int], Said]:
    """Ask all, and tell how it goes."""
    said = {}
    for question in QUESTIONS:
        for seed in SEEDS:
            answer = said[question, seed] = ask(question, seed)
            mark = "yes" if answer.sensible else "no"
            print(f"{question} [{seed}] {mark}, {answer.n_tokens} tokens: {answer.text[:300]!r}", flush=True)
    return said


def page_of(said: dict[tuple[str, int], Said]) -> str:
    """The page that keeps them."""
    per_seed = [sum(said[question, seed].sensible for question in QUESTIONS) for seed in SEEDS]
    most = sum(sum(said[question, seed].sensible for seed in SEEDS) >= 4 for question in QUESTIONS)
    n = len(QUESTIONS)
    lines = [
        "# What the demo model says at first",
        "",
        f"`python bench/first_questions.py`: {n} ordinary first questions, each in a chat of its own,",
        f"`glmq chat demo --seed N` with N from {SEEDS[0]} to {SEEDS[-1]} and nothing else set. An answer",
        "counts as sensible when it holds what the question asks for (a pattern in the script), in English,",
        f"ends before {LIMIT} tokens, does not loop and does not ramble (no two words together more than",
        f"{MOST_REPEATS} times). The facts in long answers are not checked: many are wrong.",
        "",
        f"- Sensible answers of {n}, by seed: {', '.join(map(str, per_seed))}.",
        f"- Questions with a sensible answer for at least four of the five seeds: {most} of {n}.",
        f"- Loops: {sum(each.looped for each in said.values())}. Longest answer:"
        f" {max(each.n_tokens for each in said.values())} tokens.",
    ]
    for question in QUESTIONS:
        lines += ["", f"## {question}"]
        for seed in SEEDS:
            answer = said[question, seed]
            verdict = f"{answer.n_tokens} tokens" + ("" if answer.sensible else ", **not sensible**")
            lines += ["", f"Seed {seed} ({verdict}):", ""]
            lines += [f"> {line}".rstrip() for line in answer.text.splitlines()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page_of(ask_all()))
