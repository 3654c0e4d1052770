"""Questions with choices: which continuation a model finds likeliest, as lm-evaluation-harness asks.

The prompt and a choice are encoded as one text; the tokens in which choices differ from the prompt are
scored. What a question's choices have in common is evaluated once, and those of several questions side by
side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from glmq_kernels.errors import GlmqError

from ..kv_cache.tree_node import common_prefix
from .log_softmax import negative_log_likelihoods
from .questions import Question
from .statistics import Estimate, share

if TYPE_CHECKING:
    from ..model import Model

TEMPLATE = "Question: {question}\nAnswer:"
"""What the model reads before a choice, unless the caller says otherwise."""

QUESTIONS_AT_ONCE = 8


@dataclass(frozen=True)
class Scored:
    """A question with the log-likelihood of each of its choices.

    by_sum: the choice of the largest; by_length: that of the largest by the choice's characters.
    """

    question: Question
    log_likelihoods: tuple[float, ...]

    @property
    def by_sum(self) -> int:
        """The likeliest choice."""
        return int(np.argmax(self.log_likelihoods))

    @property
    def by_length(self) -> int:
        """The likeliest choice by its log-likelihood for each character, which favours no short one."""
        lengths = [len(choice) for choice in self.question.choices]
        return int(np.argmax(np.array(self.log_likelihoods) / lengths))


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers with their standard errors, by names of lm-evaluation-harness.

    acc: by the likeliest choice. acc_norm: by the likeliest for its length. chance: what guessing gives.
    """

    acc: Estimate
    acc_norm: Estimate
    chance: float
    n_questions: int


Told = Callable[[int, Accuracy], None]
"""Called after each question with the number of questions in all and what came of those that are done."""


def check_template(template: str) -> None:
    """Raise GlmqError for a template without a place for the question."""
    if "{question}" not in template:
        raise GlmqError(f"the template {template!r} has no {{question}} in it", setting="template")


def answer_questions(
    model: Model,
    questions: Sequence[Question],
    template: str = TEMPLATE,
    delimiter: str = " ",
    progress: Told | None = None,
) -> tuple[Accuracy, list[Scored]]:
    """Score each question's choices. delimiter: what stands between the prompt and a choice.

    Raises ContextFull for a question that is longer than the model's context, before anything is evaluated.
    """
    check_template(template)
    wanted = [_encoded(model, question, template, delimiter) for question in questions]
    for each in wanted:
        model.session().require_room(max(len(choice) for choice in each.choices) + len(each.prefix))
    scored: list[Scored] = []
    for found in _in_threads(model, wanted):
        scored.append(Scored(questions[len(scored)], found))
        if progress is not None:
            progress(len(questions), accuracy_of(scored))
    return accuracy_of(scored), scored


def accuracy_of(scored: Sequence[Scored]) -> Accuracy:
    """Of questions that are scored, one or more."""
    by_sum = np.array([each.by_sum == each.question.answer for each in scored])
    by_length = np.array([each.by_length == each.question.answer for each in scored])
    chance = float(np.mean([1 / len(each.question.choices) for each in scored]))
    return Accuracy(share(by_sum), share(by_length), chance, len(scored))


@dataclass(frozen=True)
class _Encoded:
    """The tokens that all choices begin with, and for each choice those that follow, one or more."""

    prefix: list[int]
    choices: list[list[int]]


def _encoded(model: Model, question: Question, template: str, delimiter: str) -> _Encoded:
    tokenizer = model.tokenizer
    prompt = template.replace("{question}", question.text)
    delimiter += prompt[len(prompt.rstrip(" ")) :]  # spaces belong to the word behind them
    prompt = prompt.rstrip(" ")

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, special=False, add_bos=tokenizer.add_bos)

    wholes = [encode(f"{prompt}{delimiter}{choice}") for choice in question.choices]
    n = min(common_prefix(encode(prompt), whole) for whole in wholes)
    n = min(n, *(len(whole) - 1 for whole in wholes))
    if n < 1:
        raise GlmqError(
            f"the question of line {question.line} is empty, and a model needs a token to begin with;"
            " give a template with some text",
            setting="template",
        )
    return _Encoded(wholes[0][:n], [whole[n:] for whole in wholes])


def _in_threads(model: Model, wanted: Sequence[_Encoded]) -> Iterator[tuple[float, ...]]:
    """The log-likelihoods of each question's choices, in order; a few questions are under way at a time."""
    with ThreadPoolExecutor(QUESTIONS_AT_ONCE) as threads:
        under_way: list[Future[tuple[float, ...]]] = []
        try:
            for each in wanted:
                under_way.append(threads.submit(_log_likelihoods, model, each))
                if len(under_way) == 2 * QUESTIONS_AT_ONCE:
                    yield under_way.pop(0).result()
            while under_way:
                yield under_way.pop(0).result()
        finally:
            threads.shutdown(cancel_futures=True)


def _log_likelihoods(model: Model, wanted: _Encoded) -> tuple[float, ...]:
    session = model.session()
    after_prefix = session.evaluate(wanted.prefix)[None]
    found = []
    for choice in wanted.choices:
        logits = after_prefix
        if len(choice) > 1:
            logits = np.concatenate([after_prefix, session.evaluate_all(choice[:-1])])
            session.rewind(len(wanted.prefix))
        found.append(-float(negative_log_likelihoods(logits, np.array(choice)).sum()))
    return tuple(found)
