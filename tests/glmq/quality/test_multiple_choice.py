"""Questions with choices: how files tell them, and how a model's choice is found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from glmq_kernels.errors import GlmqError

import glmq
from glmq.cli import main
from glmq.quality.multiple_choice import Scored, accuracy_of, answer_questions
from glmq.quality.questions import Question, read_questions

BEES = {"question": "What do bees make?", "choices": ["milk", "honey", "wax candles"], "answer": 1}
ARC = {"question": "Ice is", "choices": {"text": ["hot", "cold"], "label": ["1", "2"]}, "answerKey": "2"}
HELLASWAG = {"ctx": "A man sits", "endings": ["down.", "up a tree, singing."], "label": "0"}


def lines(*items):
    return "\n".join(item if isinstance(item, str) else json.dumps(item) for item in items)


@pytest.mark.parametrize(
    ("item", "choices", "answer"),
    (
        (BEES, ("milk", "honey", "wax candles"), 1),
        (BEES | {"answer": "C"}, ("milk", "honey", "wax candles"), 2),
        (BEES | {"answer": "milk"}, ("milk", "honey", "wax candles"), 0),
        (ARC, ("hot", "cold"), 1),
        (HELLASWAG, ("down.", "up a tree, singing."), 0),
    ),
)
def test_data_sets_are_read_in_their_forms(item, choices, answer):
    [question] = read_questions(lines("", item), "file")
    assert (question.choices, question.answer, question.line) == (choices, answer, 2)


def test_only_line_feeds_end_a_question():
    """JSON may hold other characters that part lines in its texts."""
    item = BEES | {"question": "What do\u2028bees make?\x85"}
    [question] = read_questions(json.dumps(item, ensure_ascii=False), "file")
    assert question.text == item["question"]


@pytest.mark.parametrize(
    ("item", "told"),
    (
        ("{", "file, line 2: it is no JSON object"),
        ("[1]", "file, line 2: it is no JSON object"),
        ({"choices": ["a", "b"], "answer": 0}, "'question' is missing"),
        (BEES | {"choices": ["one"]}, "two texts or more"),
        (BEES | {"choices": ["a", 3]}, "two texts or more"),
        (BEES | {"choices": ["a", ""]}, "a choice is empty"),
        (BEES | {"answer": 3}, "the answer 3 is none of the choices"),
        (BEES | {"answer": True}, "the answer True is none of the choices"),
        (BEES | {"answer": "Z"}, "the answer 'Z' is none of the choices"),
    ),
)
def test_what_is_no_question_is_named_by_its_line(item, told):
    with pytest.raises(GlmqError, match="line 2: ") as error:
        read_questions(lines(BEES, item), "file")
    assert told in str(error.value)


def test_choices_have_the_sums_of_their_tokens_logarithms(small):
    questions = read_questions(lines(BEES, HELLASWAG, BEES | {"question": "Q"}), "file")
    _, scored = answer_questions(small, questions)
    for each in scored:
        prompt = f"Question: {each.question.text}\nAnswer:"
        n = len(small.tokenize(prompt))
        for choice, found in zip(each.question.choices, each.log_likelihoods, strict=True):
            tokens = small.tokenize(f"{prompt} {choice}")
            logits = small.logits(tokens).astype(np.float64)
            log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            expected = sum(log_p[i - 1, tokens[i]] for i in range(n, len(tokens)))
            assert found == pytest.approx(expected, abs=2e-2)


def test_accuracy_is_by_the_sum_and_by_the_choices_length():
    def scored(answer, *log_likelihoods):
        return Scored(Question("Q", ("a", "bbbb"), answer, 1), log_likelihoods)

    found = accuracy_of([scored(0, -2, -3), scored(1, -2, -3), scored(0, -1, -9), scored(1, -5, -4)])
    assert found.acc.value == 0.75 and found.acc_norm.value == 0.75
    assert found.acc.error == pytest.approx(np.sqrt(0.75 * 0.25 / 3))
    assert (found.chance, found.n_questions) == (0.5, 4)
    assert [scored(0, -2, -3).by_sum, scored(0, -2, -3).by_length] == [0, 1]


def test_a_space_before_the_choice_belongs_to_the_choice(small):
    [question] = read_questions(lines(BEES), "file")
    _, [with_space] = answer_questions(small, [question], template="{question} ", delimiter="")
    _, [without] = answer_questions(small, [question], template="{question}")
    assert with_space.log_likelihoods == pytest.approx(without.log_likelihoods, abs=1e-2)


def test_a_question_that_is_too_long_is_told_before_any_is_asked(small):
    questions = read_questions(lines(BEES, BEES | {"question": "long " * 100}), "file")
    with pytest.raises(glmq.ContextFull):
        answer_questions(small, questions)


def test_the_command_counts_right_answers(small_path, tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text(lines(BEES, ARC, HELLASWAG))
    result = CliRunner().invoke(main, ["eval", str(small_path), "-f", str(file)])
    assert result.exit_code == 0 and "3 questions; guessing would give 44.4%" in result.output
    result = CliRunner().invoke(main, ["eval", str(small_path), "-f", str(file), "--limit", "2", "--json"])
    found = json.loads(result.stdout.splitlines()[-1])
    assert [len(each["log_likelihoods"]) for each in found["questions"]] == [3, 2]
    result = CliRunner().invoke(main, ["eval", str(small_path), "-f", str(file), "--template", "Q"])
    assert result.exit_code == 2 and "no {question} in it (--template)" in result.output
