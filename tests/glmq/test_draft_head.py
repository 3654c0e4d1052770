"""A head of likely tokens: which tokens have rows, and drafts that choose among them."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.ops.operands import matrix_of

from glmq.draft_head import LAST, MOST_ROWS, DraftHead, draft_rows
from glmq.gguf import open_gguf
from glmq.models import prediction_layer

from .prediction_runs import load_predicting, next_logits
from .small_models import N_VOCAB, add_prediction, write_glm4moe

N_TOKENS, COLUMNS, N_ROWS = 4096, 32, 1024
STEP_BYTES = 8 * 128 * N_TOKENS
"""Of which the head is an eighth."""

AIR = {"n_vocab": 151_552, "row_bytes": 2304}
"""A row of its head in Q4_0."""


@pytest.fixture
def head():
    """Of rows that are all the same number, that of the token."""
    rows = np.repeat(np.arange(N_TOKENS, dtype=np.float32)[:, None], COLUMNS, axis=1)
    head = DraftHead(matrix_of(rows.view(np.uint8), N_TOKENS, COLUMNS, "F32"), N_ROWS, STEP_BYTES)
    head.take_first()
    return head


def rows_of(head):
    return head._rows.view(np.float32).reshape(N_ROWS, COLUMNS)


def has_rows_of_its_tokens(head):
    return (rows_of(head) == head.tokens[:, None]).all() and len(set(head.tokens.tolist())) == N_ROWS


class TestTokens:
    def test_at_first_the_frequent_ones_and_the_tags_at_the_end(self, head):
        n_frequent = N_ROWS - LAST
        assert set(head.tokens.tolist()) == {*range(n_frequent), *range(N_TOKENS - LAST, N_TOKENS)}
        assert has_rows_of_its_tokens(head)

    def test_what_comes_takes_the_place_of_the_least_frequent(self, head):
        head.take(np.array([2000, 2001, 2000, 5]))
        assert {2000, 2001, 5, 0, N_TOKENS - 1} <= set(head.tokens.tolist())
        assert not {N_ROWS - LAST - 1, N_ROWS - LAST - 2} & set(head.tokens.tolist())
        assert has_rows_of_its_tokens(head)

    def test_what_did_not_come_for_longest_goes_first(self, head):
        head.take(np.array([2000]))
        for first in range(1000, 1000 + 2 * N_ROWS, 64):
            head.take(np.array([*range(first, first + 64), 7]))
        held = set(head.tokens.tolist())
        assert 7 in held and 2000 + N_ROWS - 1 in held
        assert not {8, 1000} & held
        assert has_rows_of_its_tokens(head)

    def test_of_more_than_there_are_rows_for_as_many_as_there_are(self, head):
        head.take(np.arange(N_TOKENS))
        head.take(np.array([], np.int64))
        assert has_rows_of_its_tokens(head)


class TestMissed:
    def test_it_pays_unless_answers_hold_many_other_tokens(self, head):
        assert head.pays
        for _ in range(400):
            head.take(np.array([1, 2, 3, 4]), of_answer=True)
        assert head._likely.missed < 0.001
        rare = iter(range(2000, 3000))
        for _ in range(400):
            head.take(np.array([1, 2, 3, next(rare)]), of_answer=True)
        assert head._likely.missed == pytest.approx(0.25, abs=0.02)
        assert not head.pays
        for _ in range(400):
            head.take(np.array([1, 2, 3, 4]), of_answer=True)
        assert head.pays

    def test_prompts_do_not_count(self, head):
        before = head._likely.missed
        head.take(np.arange(N_TOKENS))
        assert head._likely.missed == before


class TestSize:
    @pytest.mark.parametrize(("step_gb", "expected"), [(0.3, 8192), (1.1, 12288), (4.0, 22528), (200, 32768)])
    def test_the_larger_the_step_beside_it_the_more_rows(self, step_gb, expected):
        assert draft_rows(**AIR, step_bytes=int(step_gb * 1e9)) == expected

    def test_a_small_vocabulary_has_all_rows(self):
        assert draft_rows(4096, 2304, 10**6) is None
        assert draft_rows(2 * MOST_ROWS, 2304, 10**11) is None


TEXT = np.random.default_rng(5).integers(0, N_VOCAB, 40).tolist()
N_LIKELY = 64


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_glm4moe(tmp_path_factory.mktemp("drafting") / "model.gguf", change=add_prediction)


@pytest.fixture(scope="module")
def model(path):
    """A model whose layer has a head of some of its tokens."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prediction_layer, "draft_rows", lambda *sizes: N_LIKELY)
        model = load_predicting(path)
    with model:
        model._engine._prediction._head._saved = 1.0  # these texts are random, and would not be worth it
        yield model


def test_a_guess_is_the_likeliest_of_the_likely_tokens(model):
    head = model._engine._prediction._head
    assert len(head.tokens) == N_LIKELY
    session, n_elsewhere = model.session(), 0
    for place, token in enumerate(TEXT[:-1]):
        session.evaluate([token])
        [guess] = session.draft([TEXT[place + 1]], 1)
        logits = next_logits(model, session.sequence, [TEXT[place + 1]])[-1]
        assert set(TEXT[: place + 1]) <= set(head.tokens.tolist())
        assert guess.token == head.tokens[logits[head.tokens].argmax()]
        n_elsewhere += guess.token != logits.argmax()
    assert n_elsewhere


def test_where_it_does_not_pay_a_guess_is_the_likeliest_of_all(model, monkeypatch):
    monkeypatch.setattr(model._engine._prediction._head, "_saved", 0.0)
    session = model.session()
    session.evaluate(TEXT)
    logits = next_logits(model, session.sequence, [1])[-1]
    [guess] = session.draft([1], 1)
    assert guess.token == logits.argmax()


def test_the_head_has_the_rows_of_its_tokens_to_the_last_bit(model):
    head = model._engine._prediction._head
    with open_gguf(model.path) as file:
        name = "output.weight"
        rows = np.asarray(file.data(name)).reshape(N_VOCAB, -1)
    np.testing.assert_array_equal(head._rows.reshape(N_LIKELY, -1), rows[head.tokens])


def test_what_others_have_read_is_likely_too(model):
    reader = model.session()
    reader.evaluate(TEXT)
    reader.sequence.release()
    head, session = model._engine._prediction._head, model.session()
    head.take(np.array([token for token in range(N_VOCAB) if token not in TEXT][:N_LIKELY]))
    assert not set(TEXT) & set(head.tokens.tolist())
    assert session.adopt(TEXT) == len(TEXT)
    assert session.draft([1], 1)
    assert set(TEXT) <= set(head.tokens.tolist())


def test_a_guess_is_as_probable_as_it_is_among_the_likely_tokens(model):
    head, session = model._engine._prediction._head, model.session()
    session.evaluate(TEXT)
    logits = next_logits(model, session.sequence, [1])[-1]
    [guess] = session.draft([1], 1)
    among = np.exp(logits - logits[head.tokens].max())[head.tokens]
    assert guess.probability == pytest.approx(1 / among.sum(), rel=1e-3)


def test_a_small_vocabulary_is_guessed_from_as_a_whole(path):
    with load_predicting(path) as model:
        assert model._engine._prediction._head is None
