"""`glmq eval`: how many questions with choices a model answers rightly."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .model_argument import model_argument
from .option_groups import GroupedCommand, option_group
from .options import ModelOptions, Status, model_options, open_model
from .text_input import read_text

if TYPE_CHECKING:
    from ..quality.multiple_choice import Accuracy
    from ..quality.statistics import Estimate


@click.command("eval", short_help="Count right answers to questions with choices.", cls=GroupedCommand)
@model_argument(required=True)
@option_group(
    "Questions",
    click.option(
        "-f", "--file", metavar="FILE", required=True,
        help="JSON lines with question, choices and answer; - is standard input.",
    ),
    click.option(
        "--template", metavar="TEXT",
        help=r'What is read before a choice. [default: "Question: {question}\nAnswer:"]',
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Ask the first N questions."),
)  # fmt: skip
@option_group("Model and memory", model_options)
@option_group(
    "Output",
    click.option("--json", "as_json", is_flag=True, help="One JSON object, with each question's figures."),
)
def eval(
    model: str, file: str, template: str | None, limit: int | None, as_json: bool, options: ModelOptions
) -> None:
    r"""Ask MODEL, a GGUF file or a demo model's name, questions with choices.

    Of each choice the log-likelihood after the question is worked out. acc is the share of questions whose
    right answer is the likeliest choice, acc_norm that by log-likelihood for each character, as in
    lm-evaluation-harness. The answer may be a number from 0, a letter or the choice's text:

    {"question": "What do bees make?", "choices": ["milk", "honey"], "answer": 1}

    Files in the forms of ARC, MMLU, HellaSwag and OpenBookQA are read too. \n in a template is a new line.
    """
    from ..quality.multiple_choice import TEMPLATE, answer_questions, check_template
    from ..quality.questions import read_questions

    told = TEMPLATE if template is None else template.replace(r"\n", "\n")
    check_template(told)
    questions = read_questions(read_text(file), file)[:limit]
    status = Status()

    def tell(n_questions: int, found: Accuracy) -> None:
        done = f"question {found.n_questions} of {n_questions}, {found.acc.value:.1%} right"
        status.show(f"evaluation: {done}", found.n_questions / n_questions)

    with open_model(model, options, status) as loaded:
        found, scored = answer_questions(loaded, questions, told, progress=tell)
    status.clear()
    if as_json:
        each = [
            {
                "line": one.question.line,
                "answer": one.question.answer,
                "by_sum": one.by_sum,
                "by_length": one.by_length,
                "log_likelihoods": one.log_likelihoods,
            }
            for one in scored
        ]
        click.echo(json.dumps({"model": model, **asdict(found), "questions": each}))
        return
    click.echo(_line("acc", found.acc))
    click.echo(_line("acc_norm", found.acc_norm))
    click.echo(f"{found.n_questions:,} questions; guessing would give {found.chance:.1%}")


def _line(name: str, estimate: Estimate) -> str:
    return f"{name:9}{estimate.value:6.2%} ± {estimate.error:.2%}"
