"""The layer of multi-token prediction: its logits, its rows in the KV cache, and drafts."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE

from glmq.drafting.mtp import MtpDrafter
from glmq.errors import ModelClosed
from glmq.gguf import open_gguf
from glmq.models.trunk import holds_trunk, prediction_block
from glmq.prediction import MOST_BEHIND, WantedDraft
from glmq.scheduling.request import Cancelled, Chunk, Request

from .disk_models import load_from_disk
from .prediction_runs import Reference, load_predicting, load_without, next_logits
from .saved_sessions import evaluated, write_older_file
from .small_models import (
    N_LAYERS,
    add_prediction,
    add_prediction_alone,
    write_deepseek2,
    write_glm4moe,
)
from .test_command_line import run

WRITE = {"glm4moe": partial(write_glm4moe, qk_norm=True), "deepseek2": write_deepseek2}
TEXT = np.random.default_rng(3).integers(0, 256, 24).tolist()
CLOSE = 2e-5
"""How far logits may be off, in parts of their range: as those of the trunk."""


@pytest.fixture(scope="module", params=WRITE)
def path(request, tmp_path_factory):
    """A small model with the layer, in float32."""
    folder = tmp_path_factory.mktemp("predicting")
    return WRITE[request.param](folder / "model.gguf", change=add_prediction)


@pytest.fixture(scope="module")
def model(path):
    with load_predicting(path, cache_type="F32") as model:
        yield model


def assert_close(found, expected):
    assert np.abs(found - expected).max() < CLOSE * np.ptp(expected)


def logits_behind(model, sequence, state=None):
    """What the layer predicts behind the token of TEXT that follows a sequence's."""
    token = TEXT[len(sequence.tokens)]
    return next_logits(model, sequence, [token], None if state is None else state[None])[-1]


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


def drafted_tokens(session, tokens, n_most):
    return [guess.token for guess in session.draft(tokens, n_most)]


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


def test_a_model_without_the_layer_drafts_nothing(path):
    with load_without(path) as model:
        session = model.session()
        session.evaluate(TEXT[:-1])
        assert session.draft(TEXT[-1:], 3) == []


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


def test_experts_on_disk(path, monkeypatch):
    """Those of the layer stay in memory; drafts are the same."""
    with load_predicting(path) as model:
        session = model.session()
        session.evaluate(TEXT[:-1])
        expected = session.draft(TEXT[-1:], 3)
    with load_from_disk(monkeypatch, path, 3, load=load_predicting) as model:
        assert len(model._program.expert_layers) == N_LAYERS - 1
        session = model.session()
        session.evaluate(TEXT[:-1])
        assert session.draft(TEXT[-1:], 3) == expected


class TestFiles:
    """The layer in a file of its own."""

    @pytest.fixture(params=WRITE)
    def files(self, request, tmp_path):
        write = WRITE[request.param]
        change = partial(add_prediction_alone, own_tables=True)
        return (
            write(tmp_path / "trunk.gguf", "Q8_0"),
            write(tmp_path / "mtp.gguf", "Q8_0", change=change),
            write(tmp_path / "both.gguf", "Q8_0", change=partial(add_prediction, own_tables=True)),
        )

    def test_drafts_as_that_of_one_file(self, files):
        trunk, alone, both = files
        drafts = []
        for arguments in ((both,), (trunk, alone), (both, alone)):
            with load_predicting(*arguments) as model:
                session = model.session()
                session.evaluate(TEXT[:-1])
                drafts.append(session.draft(TEXT[-1:], 4))
        assert drafts[0] == drafts[1] == drafts[2]

    def test_that_of_the_layer_has_changed_meanwhile(self, files):
        trunk, alone, _ = files
        with load_predicting(trunk, alone) as model:
            session = model.session()
            session.evaluate(TEXT[:-1])
            os.truncate(alone, 4096)
            with pytest.raises(GlmqError, match="mtp.gguf"):
                session.draft(TEXT[-1:], 1)
            with pytest.raises(GlmqError, match="mtp.gguf"):
                session.evaluate(TEXT[-1:])

    def test_what_files_hold(self, files):
        found = []
        for path in files:
            with open_gguf(path) as file:
                found.append((holds_trunk(file), prediction_block(file)))
        assert found == [(True, None), (False, N_LAYERS), (True, N_LAYERS)]


def test_inspect_tells_of_the_layer(tmp_path):
    code, out, _ = run("inspect", write_glm4moe(tmp_path / "mtp.gguf", "Q8_0", change=add_prediction_alone))
    assert code == 0
    [line] = [line for line in out.splitlines() if "multi-token prediction" in line]
    assert f"a layer, block {N_LAYERS}, and no model" in line


def of_another_width(model):
    add_prediction_alone(model)
    model.set("glm4moe.attention.head_count", 8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: None, "no layer of multi-token prediction"),
        (of_another_width, "attention.head_count is 8, not 4"),
        (lambda model: add_prediction_alone(model, block=5), "number of layers before it is 5, not 3"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused(tmp_path, change, said):
    trunk = write_glm4moe(tmp_path / "trunk.gguf", "Q8_0", qk_norm=True)
    other = write_glm4moe(tmp_path / "mtp.gguf", "Q8_0", qk_norm=True, change=change)
    with pytest.raises(GlmqError) as found:
        load_predicting(trunk, other)
    assert said in str(found.value)
    assert "mtp.gguf" in str(found.value)
    assert "\n" not in str(found.value)


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
