"""The rows of a layer of multi-token prediction in the KV cache: written with the trunk's or later, shared,
copied and saved."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE

from glmq.prediction import MOST_BEHIND
from glmq.scheduling.request import Chunk, Request

from ..prediction_runs import load_predicting, load_without, next_logits
from ..saved_sessions import evaluated, write_older_file
from ..small_models import add_prediction
from .predicted_text import TEXT, WRITE, assert_close, drafted_tokens, logits_behind


@pytest.mark.parametrize("sizes", ([1] * 23, [5, 13, 5], [22, 1]), ids=str)
def test_rows_of_a_text_read_in_pieces_are_those_of_the_whole(model, sizes):
    whole, pieces = model.session(), model.session()
    whole.evaluate(TEXT[:23])
    expected = logits_behind(model, whole.sequence)
    for size in sizes:
        pieces.evaluate(TEXT[len(pieces.tokens) : len(pieces.tokens) + size])
    assert_close(logits_behind(model, pieces.sequence), expected)


def test_rows_of_sequences_in_one_run(model):
    """A token that is drawn, a prompt of which no logits are wanted, and one with two of them."""
    engine, sequences = model._engine, [model.session().sequence for _ in range(3)]
    alone = model.session()
    alone.evaluate(TEXT[:9])
    sequences[0] = alone.sequence
    wanted = [(TEXT[9:10], 1), (TEXT[:20], 0), (TEXT[:15], 2)]
    chunks = []
    for sequence, (tokens, n_logits) in zip(sequences, wanted, strict=True):
        sequence.reserve(len(tokens))
        logits = np.zeros((n_logits, engine.n_vocab), np.float32)
        request = Request(engine, sequence, np.array(tokens), logits)
        chunks.append(Chunk(request, len(tokens), in_rows=len(tokens) == 1))
    engine.scheduler.call(
        alone.sequence, chunks, lambda wanted: [engine.run_step(wanted[0], 1, lambda: True)]
    )
    of_text = model.logits(TEXT)
    for sequence, chunk in zip(sequences, chunks, strict=True):
        sequence.extend(chunk.tokens.tolist())
        n, n_logits = len(sequence.tokens), len(chunk.logits)
        whole = model.session()
        whole.evaluate(TEXT[:n])
        assert_close(logits_behind(model, sequence), logits_behind(model, whole.sequence))
        if n_logits:
            assert_close(chunk.logits, of_text[n - n_logits : n])


def test_rows_of_tokens_that_are_decoded_wait_for_a_draft(model):
    whole, decoded = model.session(), model.session()
    whole.evaluate(TEXT[:20])
    decoded.evaluate(TEXT[:16])
    waiting = []
    for token in TEXT[16:20]:
        decoded.evaluate([token])
        waiting.append(decoded.sequence.hidden.n_behind)
    assert waiting == [1, 2, 3, 4]
    decoded.rewind(19)
    assert decoded.sequence.hidden.n_behind == 3
    decoded.evaluate(TEXT[19:20])
    assert len(decoded.draft(TEXT[20:21], 2)) == 2
    assert decoded.sequence.hidden.n_behind == 0
    state = decoded.sequence.hidden.at(19)
    expected = logits_behind(model, whole.sequence, whole.sequence.hidden.at(19))
    assert_close(logits_behind(model, decoded.sequence, state), expected)


def forget_all(model):
    """Let go of what tests before have published."""
    with model._engine.prefix_tree.pool.lock:
        model._engine.prefix_tree.clear()


def decoded_behind(model, n, n_waiting):
    """A session of the first tokens of TEXT, of which so many were drawn one by one."""
    session = model.session()
    session.evaluate(TEXT[: n - n_waiting])
    for token in TEXT[n - n_waiting : n]:
        session.evaluate([token])
    assert session.sequence.hidden.n_behind == n_waiting
    return session


def test_more_rows_than_a_draft_writes_are_written_before_it(model):
    whole, decoded = model.session(), decoded_behind(model, 22, MOST_BEHIND + 4)
    whole.evaluate(TEXT[:22])
    expected = whole.draft(TEXT[22:23], 2)
    found = decoded.draft(TEXT[22:23], 2)
    assert [guess.token for guess in found] == [guess.token for guess in expected]
    assert decoded.sequence.hidden.n_behind == 0
    state = whole.sequence.hidden.at(21)
    behind = logits_behind(model, whole.sequence, state)
    assert_close(logits_behind(model, decoded.sequence, state), behind)


@pytest.mark.parametrize("n_adopted", (22, 19, 14, 11))
def test_rows_that_waited_when_an_answer_ended_are_written_by_who_adopts_it(model, n_adopted):
    whole = model.session()
    whole.evaluate(TEXT[:n_adopted])
    expected = logits_behind(model, whole.sequence)
    whole.sequence.release(publish=False)
    decoded_behind(model, 22, 12).sequence.release()
    other = model.session()
    assert other.adopt(TEXT[:n_adopted]) == n_adopted
    assert_close(logits_behind(model, other.sequence), expected)
    other.sequence.release(publish=False)
    forget_all(model)


def test_states_behind_other_tokens_than_were_published_are_unknown(model):
    tree = model._engine.prefix_tree
    decoded = decoded_behind(model, 22, 12)
    decoded.sequence.publish(partly=True)
    decoded.rewind(14)
    decoded.evaluate([1] * 50)
    decoded.sequence.publish()
    decoded.sequence.release()
    pages, n = tree.match([*TEXT[:14], *[1] * 50])
    assert (n, pages[-1].hidden) == (64, None)
    forget_all(model)


def test_a_fork_and_its_origin_go_on_by_themselves(model):
    origin = decoded_behind(model, 18, 6)
    fork = model.session()
    fork.sequence = origin.sequence.fork()
    for session, tokens in ((origin, TEXT[18:22]), (fork, [7, 7, 7]), (origin, TEXT[22:23])):
        for token in tokens:
            session.evaluate([token])
    for session in (origin, fork):
        whole = model.session()
        whole.evaluate(session.tokens)
        states = (each.sequence.hidden.at(len(whole.tokens) - 1) for each in (session, whole))
        assert_close(*states)
        found, expected = (next_logits(model, each.sequence, [9])[-1] for each in (session, whole))
        assert_close(found, expected)


def test_no_row_waits_for_long_or_in_a_page_that_others_may_read(model, monkeypatch):
    monkeypatch.setattr(model._engine._prediction, "_most_waiting", MOST_BEHIND)  # as of a large model
    session = model.session()
    session.evaluate(list(range(POSITIONS_PER_PAGE - MOST_BEHIND - 3)))
    waiting = []
    for token in range(MOST_BEHIND + 5):
        session.evaluate([token])
        waiting.append(session.sequence.hidden.n_behind)
    assert waiting == [*range(1, MOST_BEHIND + 1), 0, 1, 0, 1, 2]


def test_rows_after_a_draft_that_was_wrong(model):
    """The run that checks it writes true rows, and keeps the hidden state that the next draft needs."""
    plain, drafted = model.session(), model.session()
    plain.evaluate(TEXT[:18])
    expected = logits_behind(model, plain.sequence)
    drafted.evaluate(TEXT[:16])
    wrong = [(token + 1) % 256 for token in drafted_tokens(drafted, TEXT[16:17], 3)]
    drafted.evaluate_all([*TEXT[16:18], *wrong])
    drafted.rewind(18)
    assert_close(logits_behind(model, drafted.sequence), expected)


def test_rows_of_a_fork_and_of_who_finds_them_in_the_prefix_tree(model):
    session = model.session()
    session.evaluate(TEXT[:20])
    expected, state = logits_behind(model, session.sequence), session.sequence.hidden.at(19)
    fork = session.sequence.fork()
    assert_close(logits_behind(model, fork), expected)
    fork.release()
    session.sequence.release()
    other = model.session()
    assert other.adopt(TEXT) == 20
    assert_close(logits_behind(model, other.sequence, state), expected)
    other.evaluate(TEXT[20:22])
    assert other.draft(TEXT[22:23], 2)


class TestSavedSessions:
    """Files of sessions with the layer's rows and without, each restored both ways."""

    @pytest.mark.parametrize("predicted", (False, True))
    @pytest.mark.parametrize("predicts", (False, True))
    def test_all_that_the_trunk_has_is_there(self, path, tmp_path, predicted, predicts):
        load = {True: load_predicting, False: load_without}
        with load[predicted](path) as model:
            session = evaluated(model)
            session.save(tmp_path / "saved")
            expected = session.evaluate([65])
        with load[predicts](path) as model:
            restored = model.restore_session(tmp_path / "saved")
            assert restored.reason is None
            np.testing.assert_array_equal(restored.session.evaluate([65]), expected)
            restored.session.save(tmp_path / "saved")  # in pages of other sizes
            again = model.restore_session(tmp_path / "saved")
            assert again.session.tokens == restored.session.tokens

    def test_drafts_go_on_where_both_have_the_rows(self, model, tmp_path):
        session = evaluated(model)
        n = len(session.tokens)
        state = session.sequence.hidden.at(n - 1)
        session.save(tmp_path / "saved")
        restored = model.restore_session(tmp_path / "saved").session
        expected = next_logits(model, session.sequence, [65], state[None])
        assert_close(next_logits(model, restored.sequence, [65], state[None]), expected)

    def test_rows_that_wait_are_written_for_the_file(self, model, tmp_path):
        session = decoded_behind(model, 22, 12)
        session.save(tmp_path / "saved")
        assert session.sequence.hidden.n_behind == 0
        state = session.sequence.hidden.at(21)
        restored = model.restore_session(tmp_path / "saved").session
        whole = model.session()
        whole.evaluate(TEXT[:22])
        expected = logits_behind(model, whole.sequence, state)
        assert_close(logits_behind(model, restored.sequence, state), expected)

    def test_files_of_older_versions(self, tmp_path):
        path = WRITE["glm4moe"](tmp_path / "model.gguf", change=add_prediction)
        with load_without(path) as model:
            session = evaluated(model)
            write_older_file(tmp_path / "old", session)
            expected = session.evaluate([65])
        with load_predicting(path) as model:
            restored = model.restore_session(tmp_path / "old")
            assert restored.reason is None
            np.testing.assert_array_equal(restored.session.evaluate([65]), expected)
            assert len(restored.session.draft([65], 2)) == 2
