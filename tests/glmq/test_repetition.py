"""Loops in answers: what counts as one, and how it is told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import glmq
from glmq.repetition import Repetition

from .scripted_chat import Script  # noqa: F401  (the package's chats are scripted by it)
from .test_command_line import run


def first_loop(tokens):
    """After how many tokens a loop is noticed; None: never."""
    repetition = Repetition()
    for i, token in enumerate(tokens, 1):
        repetition.accept(token)
        if repetition.looping:
            return i
    return None


@pytest.mark.parametrize(("period", "tokens"), ((1, 80), (2, 80), (7, 80), (20, 80), (50, 200), (400, 1600)))
def test_a_passage_that_comes_four_times_and_fills_80_tokens(period, tokens):
    before = [-5, -6, -7]
    loop = [i % period for i in range(2000)]
    assert first_loop(before + loop) == len(before) + tokens


def test_a_passage_that_comes_three_times_is_none():
    assert first_loop(3 * list(range(100)) + [-1]) is None


def test_a_short_list_of_equal_things_is_none():
    assert first_loop([1, 2] * 39 + [3]) is None


def test_it_is_over_when_something_else_comes():
    repetition = Repetition()
    for token in [1] * 100:
        repetition.accept(token)
    assert repetition.looping
    repetition.accept(2)
    assert not repetition.looping


@given(st.integers(0, 2**32))
def test_ordinary_text_is_none(seed):
    """Each token stands for one of 50 words."""
    drawn = random.Random(seed)
    assert first_loop(drawn.choices(range(50), k=500)) is None
