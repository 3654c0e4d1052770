"""Finding where the end of a text came before, in any text and however it was put in."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glmq.drafting import text_index
from glmq.drafting.text_index import BORDER, LONGEST_MATCH, TextIndex

SHORTEST = min(text_index.LENGTHS)


def index_of(*texts):
    index = TextIndex()
    for text in texts:
        index.follow(text)
    return index


def longest_by_search(tokens):
    """The length of the longest match of the end, by looking everywhere."""
    best = 0
    for place in range(1, len(tokens)):
        n = 0
        while n < min(place, LONGEST_MATCH) and tokens[place - 1 - n] == tokens[-1 - n] != BORDER:
            n += 1
        best = max(best, n)
    return best if best >= SHORTEST else 0


@given(st.lists(st.integers(0, 3), max_size=24), st.lists(st.integers(0, 3), max_size=12), st.integers(0, 36))
def test_the_longest_match_is_found_whatever_was_put_in_at_once(text, more, n_before):
    index = index_of(text[:n_before])
    index.follow(text)
    for token in more:
        index.append(token)
    assert list(index.tokens[-len(text + more) :]) == text + more
    place, length = index.longest_match()
    assert length == longest_by_search(text + more)
    if length:
        assert list(index.tokens[place - length : place]) == (text + more)[-length:]


def test_of_matches_of_one_length_the_newest_is_taken():
    place, length = index_of([1, 2, 3, 9, 1, 2, 4, 9, 5, 1, 2]).longest_match()
    assert (place, length) == (6, 2)


def test_an_earlier_answer_stays_when_a_prompt_leaves_it_out():
    question, thinking, answer = [1, 2, 3, 4], [10, 11, 12, 13, 14], [20, 21, 22]
    index = index_of(question, question + thinking + answer, question + answer + [5])
    for token in thinking[:3]:
        index.append(token)
    place, length = index.longest_match()
    assert length == 3
    assert list(index.tokens[place : place + 2]) == thinking[3:]


def test_a_match_does_not_reach_beyond_where_a_text_begins():
    index = index_of([7, 8, 9], [1, 7, 8, 9, 2, 7, 8, 9])
    assert list(index.tokens).count(BORDER) == 1
    assert index.longest_match()[1] == 3


def test_the_same_text_again_adds_nothing():
    index = index_of([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert len(index.tokens) == 5


@pytest.mark.parametrize("n_at_once", [1, 40])
def test_a_long_text_is_forgotten_from_its_beginning(monkeypatch, n_at_once):
    monkeypatch.setattr(text_index, "MOST_TOKENS", 1 << 12)
    tokens = random.Random(0).choices(range(1000), k=10_000)
    index = TextIndex()
    for first in range(0, len(tokens), n_at_once):
        if n_at_once == 1:
            index.append(tokens[first])
        else:
            index.follow(tokens[: first + n_at_once])
        assert len(index.tokens) <= 1 << 12
    assert list(index.tokens) == tokens[-len(index.tokens) :]
    for token in tokens[-30:-20]:
        index.append(token)
    place, length = index.longest_match()
    assert length == 10
    assert index.tokens[place] == tokens[-20]
