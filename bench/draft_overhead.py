"""What drafts cost Python for each token of an answer: a table of docs/numbers.md, as Markdown.

python bench/draft_overhead.py [--kind free] [--tokens 96] [--passes 15] [--further 0.4] [--parts]

The demo model answers the questions of bench/drafting_prompts.py once. Then the same tokens are drawn again
with and without drafts, in turn, where a stand-in for the model gives each token's logits at once and the
likeliest is drawn without a sampler: what is left is Python, measured by the time that the thread has had
the processor, of each answer the best of all passes. --further: what a further token of a run is said to
cost, of the first, which decides how many guesses are checked. --parts: which functions of drafts take how
much; measuring them costs time itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np

import glmq
from bench.drafting import GREEDY
from bench.drafting_prompts import EDITING, FREE
from bench.numbers_page import machine
from glmq.drafting.answer_drafting import AnswerDrafting
from glmq.sampling.sampler import Sampler
from glmq.scheduling.request import PagedSequence, Request
from glmq.scheduling.row_costs import RowCosts
from glmq.session import Session

STEP_SECONDS = 0.013
"""What a run of one token is said to cost."""

PARTS: tuple[tuple[type, str], ...] = (
    (AnswerDrafting, "accept"),
    (AnswerDrafting, "draft"),
    (AnswerDrafting, "checked"),
    (Session, "knows"),
    (Session, "take_known"),
)


class Replay:
    """Stands in the place of a model's scheduler: whatever is evaluated, the text that is known goes on."""

    def __init__(self, model: glmq.Model) -> None:
        self.text: list[int] = []
        self._scheduler = model._engine.scheduler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def evaluate(
        self,
        runner: Any,
        sequence: PagedSequence,
        tokens: np.ndarray,
        logits: np.ndarray,
        *,
        n_draft: int = 0,
        **more: Any,
    ) -> Request:
        """Put 1 where the next token of the text is, behind each of the last tokens."""
        sequence.reserve(len(tokens))
        first = len(sequence.tokens) + len(tokens) - len(logits)
        for i in range(len(logits)):
            if first + i + 1 < len(self.text):
                logits[i, self.text[first + i + 1]] = 1.0
        sequence.extend(tokens[: len(tokens) - n_draft].tolist())
        return Request(runner, sequence, tokens, logits, n_draft=n_draft)


class Priced(RowCosts):
    """Costs that are set: of `STEP_SECONDS`, and `further` of that for each further token."""

    def __init__(self, further: float) -> None:
        super().__init__()
        for n_rows in range(1, 17):
            self.observe(n_rows, STEP_SECONDS * (1 + further * (n_rows - 1)))


def thread_seconds(model: glmq.Model, prompt: list[int], n_tokens: int) -> tuple[float, list[int]]:
    """Of drawing an answer behind its first token, and its tokens."""
    generation = model.generate(prompt, sampling=GREEDY, max_tokens=n_tokens)
    pieces = iter(generation)
    next(pieces)
    n_first = len(generation.tokens)
    began = time.thread_time()
    for _ in pieces:
        pass
    return (time.thread_time() - began) / max(1, len(generation.tokens) - n_first), generation.tokens


@contextmanager
def timed_parts() -> Iterator[dict[str, list[float]]]:
    """Seconds of all calls of `PARTS` meanwhile, by name."""
    seconds: dict[str, list[float]] = defaultdict(list)
    before = [(of, name, getattr(of, name)) for of, name in PARTS]

    def timed(called: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(called)
        def call(*arguments: Any, **names: Any) -> Any:
            began = time.perf_counter()
            try:
                return called(*arguments, **names)
            finally:
                seconds[name].append(time.perf_counter() - began)

        return call

    for of, name, called in before:
        setattr(of, name, timed(called, name))
    try:
        yield seconds
    finally:
        for of, name, called in before:
            setattr(of, name, called)


def measured(model: glmq.Model, replay: Replay, answers: list[list[int]], n_passes: int) -> list[float]:
    """Microseconds for each token of each answer, the least of all passes, without drafts and with them."""
    drafting, best = model._drafting, [[np.inf, np.inf] for _ in answers]
    for i in range(n_passes):
        for place, (prompt, tokens) in enumerate(answers):
            replay.text = [*prompt, *tokens]
            for drafted in (False, True) if i % 2 else (True, False):
                model._drafting = drafting if drafted else None
                seconds, found = thread_seconds(model, prompt, len(tokens))
                assert found == tokens, "the answer is the same"
                best[place][drafted] = min(best[place][drafted], seconds)
    model._drafting = drafting
    return [[1e6 * each for each in of_answer] for of_answer in best]


def drawn_likeliest(sampler: Sampler, logits: np.ndarray) -> int:
    """Stands in the place of `Sampler.sample`, whose time is the same with drafts as without."""
    return int(logits.argmax())


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kind", choices=("editing", "free"), action="append")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--further", type=float, default=0.4)
    parser.add_argument("--parts", action="store_true")
    options = parser.parse_args()
    print(f"{machine()}; microseconds of Python for each token, a further token at {options.further}\n")
    print("| questions | without drafts | with | more | most more | checked guesses for a token |")
    print("|" + " --- |" * 6)
    with glmq.load("demo", draft="auto", n_ctx=4096) as model:
        for kind in options.kind or ("free", "editing"):
            answers = []
            for question in {"free": FREE, "editing": EDITING}[kind]:
                prompt = model.tokenize(model.chat_template.render([{"role": "user", "content": question}]))
                answers.append((prompt, thread_seconds(model, prompt, options.tokens)[1]))
            scheduler = model._engine.scheduler
            model._engine.scheduler = replay = Replay(model)
            sample, Sampler.sample = Sampler.sample, drawn_likeliest
            model._drafting._experience.costs = Priced(options.further)
            n_before = model.drafts.n_drafted.total()
            found = measured(model, replay, answers, options.passes)
            n_checked = model.drafts.n_drafted.total() - n_before
            n_drawn = options.passes * sum(len(tokens) for _, tokens in answers)
            more = [b - a for a, b in found]
            told = (
                kind,
                *(f"{statistics.median(each):.1f}" for each in zip(*found, strict=True)),
                f"{statistics.median(more):.1f}",
                f"{max(more):.1f}",
                f"{n_checked / n_drawn:.2f}",
            )
            print(f"| {' | '.join(told)} |", flush=True)
            if options.parts:
                with timed_parts() as seconds:
                    measured(model, replay, answers, 3)
                for name, each in seconds.items():
                    n_calls = len(each) * options.passes / 3 / n_drawn
                    print(f"{name}: {1e6 * statistics.median(each):.1f} of {n_calls:.2f} calls a token")
            model._engine.scheduler, Sampler.sample = scheduler, sample


if __name__ == "__main__":
    main()
