"""Loops in answers: what counts as one, and how it is told."""

from __future__ import annotations

import io
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glmq
from glmq.chat.answer_limits import AnswerLimits, recommended_limits
from glmq.cli.talk_settings import TalkSettings, changed
from glmq.cli.terminal_answer import TerminalAnswer
from glmq.repetition import Repetition

from .talks import new_talk


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


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_ordinary_text_is_none(seed):
    """Each token stands for one of 50 words."""
    drawn = random.Random(seed)
    assert first_loop(drawn.choices(range(50), k=500)) is None


LOOP = "and so on " * 60


def test_a_loop_is_told_once_and_the_answer_goes_on(monkeypatch, glm_4_7, capsys):
    talk = new_talk(monkeypatch, glm_4_7, [f"</think>Words {LOOP}and an end.", "</think>Fine."])
    talk.say("Hello")
    out, err = capsys.readouterr()
    assert out.strip() == f"Words {LOOP}and an end."
    assert err.count("[the answer repeats itself; Ctrl-C stops it]\n") == 1
    talk.say("Hello again")
    assert "repeats" not in capsys.readouterr().err


def test_a_loop_in_the_thinking_is_told_too(monkeypatch, glm_4_7, capsys):
    new_talk(monkeypatch, glm_4_7, [f"{LOOP}</think>Fine."]).say("Hello")
    out, err = capsys.readouterr()
    assert out == "Fine.\n"
    assert err.count("repeats itself") == 1


def test_where_the_model_recommends_it_a_loop_ends_the_answer(monkeypatch, glm_4_7, capsys):
    talk = new_talk(
        monkeypatch, glm_4_7, [f"</think>Words {LOOP}and an end."], limits=AnswerLimits(end_loops=True)
    )
    talk.say("Hello")
    out, err = capsys.readouterr()
    assert out.startswith("Words and so on and")
    assert len(out) < len(LOOP)
    assert "The answer repeated itself and was ended." in err
    assert talk.messages[-1]["content"] == out.rstrip("\n")


def test_a_terminal_shows_the_remark_between_what_is_there_and_what_comes():
    stream = io.StringIO()
    with TerminalAnswer(stream, size=lambda: (80, 24)) as view:
        view.content("first ")
        view.remark("the answer repeats itself")
        view.content("second")
    text = re.sub(r"\x1b[^a-zA-Z]*[a-zA-Z]", "", stream.getvalue())
    assert text.index("first") < text.index("[the answer repeats itself]") < text.rindex("second")


def test_an_answer_says_that_it_loops(monkeypatch, glm_4_7):
    new_talk(monkeypatch, glm_4_7, [f"</think>{LOOP}", f"</think>{LOOP}the end of it all, good night."])
    answers = [glm_4_7.chat([{"role": "user", "content": "Hello"}]) for _ in range(2)]
    for answer in answers:
        answer.run()
    assert [answer.looping for answer in answers] == [True, False]


def test_limits_come_from_the_file():
    assert recommended_limits({}) == AnswerLimits(None, False)
    metadata = {"glmq.answer.max_tokens": 512, "glmq.answer.end_loops": True}
    assert recommended_limits(metadata) == AnswerLimits(512, True)


@pytest.mark.parametrize("value", (0, -1, "512", 1.5, True, [1]))
def test_limits_that_make_no_sense_are_none(value):
    metadata = {"glmq.answer.max_tokens": value, "glmq.answer.end_loops": value if value is not True else 1}
    assert recommended_limits(metadata) == AnswerLimits()


def test_a_limit_goes_with_its_model_unless_the_user_has_set_another():
    def settings(**more):
        return TalkSettings(glmq.Sampling(), glmq.Sampling(), **more)

    small, none = AnswerLimits(512, True), AnswerLimits()
    assert settings(max_tokens=512, limits=small).suited_to(glmq.Sampling(), none).max_tokens is None
    assert settings().suited_to(glmq.Sampling(), small).max_tokens == 512
    assert settings(max_tokens=99, limits=small).suited_to(glmq.Sampling(), none).max_tokens == 99
    assert changed(settings(max_tokens=99, limits=small), "max_tokens", "default").max_tokens == 512
    assert changed(settings(max_tokens=512, limits=small), "max_tokens", "off").max_tokens is None
