"""What a layer of multi-token prediction predicts: its logits, and drafts."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from glmq.drafting.mtp import MtpDrafter
from glmq.errors import ModelClosed
from glmq.gguf import open_gguf
from glmq.prediction import WantedDraft
from glmq.scheduling.request import Cancelled

from ..prediction_runs import Reference, load_predicting, load_without, next_logits
from ..small_models import N_LAYERS, add_prediction
from .predicted_text import TEXT, WRITE, assert_close, drafted_tokens


@pytest.mark.parametrize(
    ("architecture", "own_tables"),
    [("glm4moe", True), ("deepseek2", False)],
    ids=("its own tables", "tables of the trunk"),
)
def test_logits_are_those_of_the_specification(tmp_path, architecture, own_tables):
    change = partial(add_prediction, own_tables=own_tables)
    path = WRITE[architecture](tmp_path / "model.gguf", change=change)
    with load_predicting(path, cache_type="F32") as model, open_gguf(path) as file:
        session = model.session()
        session.evaluate(TEXT)
        states = session.sequence.hidden.rows
        expected, _ = Reference(file, file, N_LAYERS).logits(TEXT, states)
        before = np.vstack([np.zeros_like(states[:1]), states[:-1]])
        whole = next_logits(model, model.session().sequence, TEXT, before)
        assert_close(whole, expected)
        session.rewind(0)
        one_by_one = []
        for token, state in zip(TEXT, before, strict=True):
            one_by_one.append(next_logits(model, session.sequence, [token], state[None])[0])
            session.evaluate([token])
        assert_close(np.array(one_by_one), expected)


def test_drafts_go_on_from_what_was_drafted(model, path):
    session = model.session()
    session.evaluate(TEXT[:-1])
    tokens, states = [*TEXT], session.sequence.hidden.rows
    with open_gguf(path) as file:
        reference = Reference(file, file, N_LAYERS)
        for _ in range(4):
            logits, last = reference.logits(tokens, states)
            tokens.append(int(logits[-1].argmax()))
            states = np.vstack([states, last[-1:]])
    assert drafted_tokens(session, TEXT[-1:], 4) == tokens[len(TEXT) :]
    assert drafted_tokens(session, TEXT[-1:], 1) == tokens[len(TEXT) : len(TEXT) + 1]
    assert session.tokens == TEXT[:-1]


def test_drafts_of_sequences_side_by_side(model):
    """Each as long as it is wanted, from as many tokens as are drawn."""
    engine, sessions = model._engine, [model.session() for _ in range(3)]
    wanted, expected = [], []
    for session, n, tokens, n_most in zip(sessions, (4, 9, 15), (1, 2, 1), (3, 2, 5), strict=True):
        session.evaluate(TEXT[:n])
        expected.append(session.draft(TEXT[n : n + tokens], n_most))
        wanted.append(WantedDraft(session.sequence, TEXT[n : n + tokens], n_most))
    found = engine.scheduler.call(
        sessions[0].sequence, wanted, lambda all_wanted: [engine._draft(*all_wanted)]
    )
    assert found == expected
    assert [len(draft) for draft in found] == [3, 2, 5]


def test_a_draft_ends_where_no_more_is_wanted(model):
    session, asked = model.session(), []
    session.evaluate(TEXT[:-1])

    def wants_more(guesses):
        asked.append(list(guesses))
        return len(guesses) < 2

    whole = session.draft(TEXT[-1:], 3)
    assert session.draft(TEXT[-1:], 3, wants_more=wants_more) == whole[:2]
    assert asked == [whole[:1], whole[:2]]


def test_guesses_have_the_probability_of_their_logits(model):
    session = model.session()
    session.evaluate(TEXT[:-1])
    [guess] = session.draft(TEXT[-1:], 1)
    state = session.sequence.hidden.at(len(TEXT) - 2)
    logits = next_logits(model, session.sequence, TEXT[-1:], state[None])[0].astype(np.float64)
    assert guess.token == logits.argmax()
    assert guess.probability == pytest.approx(np.exp(logits.max()) / np.exp(logits).sum(), rel=1e-4)


def test_tokens_that_are_drawn_and_not_evaluated_may_be_several(model):
    """Those behind the first go on from what the layer has made of the ones before."""
    session = model.session()
    session.evaluate(TEXT[:10])
    [first, second] = drafted_tokens(session, TEXT[10:11], 2)
    assert drafted_tokens(session, [TEXT[10], first], 1) == [second]


def test_a_drafter_of_the_layer(model):
    session = model.session()
    session.evaluate(TEXT[:-1])
    drafter = MtpDrafter(session)
    assert not drafter.kinds(3)
    session.drawn = TEXT[-1:]
    assert [*drafter.kinds(3)] == [0, 1, 2]
    guesses = drafter.propose(3)
    assert [(guess.token, guess.probability) for guess in guesses] == session.draft(TEXT[-1:], 3)
    assert len(drafter.propose(3, lambda guesses: False)) == 1
    assert [guess.kind for guess in guesses] == [0, 1, 2]


def test_the_trunk_gives_the_same_bits_for_tokens_of_the_row_form(path):
    """Of a prompt that takes panels the last layer takes them too, though one token's logits are wanted."""
    found = []
    for load in (load_predicting, load_without):
        with load(path) as model:
            session = model.session()
            of_prompt = session.evaluate(TEXT[:13])
            decoded = [session.evaluate_all(TEXT[first:last], 2) for first, last in ((13, 16), (16, 24))]
            found.append((of_prompt, np.concatenate(decoded)))
    (prompt, decoded), (prompt_without, decoded_without) = found
    assert_close(prompt, prompt_without)
    np.testing.assert_array_equal(decoded, decoded_without)


def test_at_the_end_of_the_context(path):
    with load_predicting(path, n_ctx=16) as model:
        session = model.session()
        session.evaluate(TEXT[:13])
        assert len(session.draft(TEXT[13:14], 8)) == 2
        assert session.draft(TEXT[13:16], 8) == []


def test_without_room_for_keys_and_values(path, monkeypatch):
    with load_predicting(path) as model:
        session, pool = model.session(), model._engine.prefix_tree.pool
        session.evaluate((TEXT * 3)[:60])
        monkeypatch.setattr(pool, "max_pages", 1)
        assert len(session.draft([1], 4)) == 4  # in the page that is there
        assert len(session.draft([1], 8)) == 1
        session.evaluate([1, 2, 3, 4])
        assert session.draft([1], 8) == []
        assert session.tokens[-1] == 4


class Gone:
    """A user of a session who has cancelled."""

    cancelled = True
    has_ended = False


def test_a_draft_that_is_cancelled_or_comes_after_the_end(path):
    with load_predicting(path) as model:
        session, user = model.session(), Gone()
        session.evaluate(TEXT[:4])
        session.claim(user)
        with pytest.raises(Cancelled):
            session.draft([1], 2, user=user)
        session.release(user)
        assert session.tokens == TEXT[:4]
    with pytest.raises(ModelClosed):
        session.draft([1], 2)
