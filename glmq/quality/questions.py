"""Files of questions with choices: JSON lines, in the forms that data sets have them."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glmq_kernels.errors import GlmqError

QUESTION = ("question", "query", "ctx", "context", "prompt", "sentence")
CHOICES = ("choices", "options", "endings", "answers")
ANSWER = ("answer", "answerKey", "label", "gold", "answer_index")
"""Names of fields in ARC, MMLU, HellaSwag, OpenBookQA and others; the first that is there counts."""


@dataclass(frozen=True)
class Question:
    """A question, its choices, and which of them is right, from 0. line: where in the file it stands."""

    text: str
    choices: tuple[str, ...]
    answer: int
    line: int


def read_questions(text: str, name: str) -> list[Question]:
    """The questions of a file's text, one JSON object a line. Raises GlmqError that names the line."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append(_question(line, number))
            except ValueError as error:
                raise GlmqError(f"{name}, line {number}: {error}") from None
    if not found:
        raise GlmqError(f"{name} holds no question; give a JSON object a line with question, choices, answer")
    return found


def _question(line: str, number: int) -> Question:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON object") from None
    if not isinstance(item, dict):
        raise ValueError("it is no JSON object")
    text = _field(item, QUESTION)
    if not isinstance(text, str):
        raise ValueError("the question is no text")
    choices, labels = _choices(_field(item, CHOICES))
    return Question(text, choices, _answer(_field(item, ANSWER), choices, labels), number)


def _field(item: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in item:
            return item[name]
    raise ValueError(f"the field {names[0]!r} is missing")


def _choices(given: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Texts of the choices, and the names by which an answer may call them."""
    labels = None
    if isinstance(given, dict):  # ARC: {"text": [...], "label": ["A", ...]}
        given, labels = given.get("text"), given.get("label")
    if not isinstance(given, list) or len(given) < 2 or not all(isinstance(each, str) for each in given):
        raise ValueError("the choices are no list of two texts or more")
    if not all(given):
        raise ValueError("a choice is empty")
    if not isinstance(labels, list) or len(labels) != len(given):
        labels = [chr(ord("A") + i) for i in range(len(given))]
    return tuple(given), tuple(str(label) for label in labels)


def _answer(given: Any, choices: tuple[str, ...], labels: tuple[str, ...]) -> int:
    """The right choice's number, from 0, by number, label or text."""
    if isinstance(given, str):
        if given in labels:
            return labels.index(given)
        if choices.count(given) == 1:
            return choices.index(given)
        given = int(given) if given.isdecimal() else given
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(choices):
        return given
    told = reprlib.repr(given)
    raise ValueError(f"the answer {told} is none of the choices, by number from 0, letter or text")
