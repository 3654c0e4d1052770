"""Look-up follows a text that is repeated, also behind a change, and says how sure it is."""

from __future__ import annotations

from glmq.drafting import text_index
from glmq.drafting.lookup import CHANGED, LookUp, kind_of_length
from glmq.drafting.text_index import TextIndex

TEXT = list(range(100, 130))


def looking(prompt, answer=()):
    """A look-up behind an answer's first tokens."""
    lookup = LookUp(TextIndex())
    lookup.begin(prompt)
    for token in answer:
        lookup.accept(token)
    return lookup


def tokens(lookup, n=5):
    return [guess.token for guess in lookup.propose(n)]


def test_nothing_is_guessed_where_nothing_repeats():
    lookup = looking(TEXT, [1, 2, 3])
    assert (lookup.kinds(5), lookup.propose(5)) == ((), [])


def test_what_follows_a_match_is_guessed():
    lookup = looking([*TEXT, 1], TEXT[3:6])
    assert tokens(lookup) == TEXT[6:11]
    assert [guess.kind for guess in lookup.propose(3)] == list(lookup.kinds(3))
    assert list(lookup.kinds(3)) == [kind_of_length(n) for n in (3, 4, 5)]


def test_a_changed_token_is_stepped_over():
    lookup = looking([*TEXT, 1], [*TEXT[:10], 7])
    assert tokens(lookup, 4) == TEXT[11:15]
    assert list(lookup.kinds(3)) == [CHANGED, kind_of_length(1), kind_of_length(2)]
    lookup.accept(TEXT[11])
    assert tokens(lookup, 4) == TEXT[12:16]
    assert list(lookup.kinds(1)) == [kind_of_length(1)]


def test_only_so_many_changed_tokens_are_stepped_over():
    lookup = looking([*TEXT, 1], TEXT[:10])
    for token in (7, 8, 9):
        lookup.accept(token)
        assert tokens(lookup)
    lookup.accept(6)
    assert not tokens(lookup)


def test_a_text_that_ends_in_a_repetition_goes_on_so():
    assert tokens(looking([1, 2, 3, 1, 2, 3]), 7) == [1, 2, 3, 1, 2, 3, 1]


def test_no_guess_comes_from_another_text():
    index = TextIndex()
    index.follow([1, 2, 3])
    lookup = LookUp(index)
    lookup.begin([5, 6, 1, 2])
    assert tokens(lookup) == [3]


def test_a_text_is_followed_on_where_the_beginning_of_a_long_one_is_forgotten(monkeypatch):
    monkeypatch.setattr(text_index, "MOST_TOKENS", 1 << 12)
    text = list(range(4000))
    lookup = looking([*text, 9999], text[3000:3090])
    for token in text[3090:3200]:
        assert tokens(lookup, 2) == [token, token + 1]
        lookup.accept(token)
    assert len(lookup._index.tokens) < 4000


def test_nothing_is_followed_on_in_what_is_forgotten(monkeypatch):
    monkeypatch.setattr(text_index, "MOST_TOKENS", 1 << 12)
    text = list(range(4000))
    lookup = looking([*text, 9999], text[1000:1080])
    for token in text[1080:1200]:
        lookup.accept(token)
    assert text[1200] not in lookup._index.tokens
    assert lookup.propose(3) == []


def test_the_next_guess_is_the_first_of_a_draft():
    lookup = looking([*TEXT, 1], [*TEXT[:10], 7])
    for token in TEXT[11:16]:
        (first,) = lookup.propose(1)
        assert lookup.next_guess() == (first.token, first.kind)
        lookup.accept(token)
    assert looking(TEXT, [1]).next_guess() is None


def test_longer_matches_are_of_higher_kinds():
    kinds = [kind_of_length(n) for n in range(1, 65)]
    assert kinds == sorted(kinds)
    assert len(set(kinds)) == 13
    assert all(0 <= looking([1]).assumed(kind) <= 1 for kind in (CHANGED, *kinds))
