"""Answers are the same with drafts as without: text, tokens, why they end, and what their sessions hold."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from glmq_kernels.gemm.sizes import ROW_TOKENS

import glmq
from glmq.drafting.lookup import LookUp
from glmq.drafting.text_index import TextIndex
from glmq.sampling.sampler import Sampler
from glmq.scheduling.request import Cancelled

from ..disk_models import load_from_disk
from ..small_models import write_deepseek2
from ..test_generation import FREE, GREEDY
from .known_answers import KnownAnswer, drafted

WRONG = (0, 2, 3, 5)
PROMPT = "Every token is guessed"
HARD = glmq.Sampling(
    temperature=1.2, seed=3, repeat_penalty=1.2, frequency_penalty=0.3, presence_penalty=0.2,
    penalty_last_n=16, dry_multiplier=0.8, xtc_probability=0.5, top_k=0, top_p=0.95, min_p=0.01,
)  # fmt: skip
SAMPLINGS = {
    "greedy": GREEDY,
    "free": FREE,
    "every sampler": HARD,
    "mirostat": glmq.Sampling(mirostat=2, seed=4),
}


def told(generation, session):
    """All that an answer leaves behind."""
    return {
        "pieces": list(generation),
        "text": generation.text,
        "tokens": generation.tokens,
        "logprobs": generation.logprobs,
        "finish_reason": generation.finish_reason,
        "looping": generation.looping,
        "n_generated": generation.timings.n_generated,
        "usage": generation.usage.completion_tokens,
        "session": list(session.tokens),
        "drawn": list(session.drawn),
        "saved": session.n_saved,
    }


def next_logits(session):
    """Behind another last token: what keys and values a session holds shows in them."""
    session.rewind(len(session.tokens) - 1)
    return session.evaluate([5])


def both(model, wrong=3, n_ctx=None, new_guide=lambda: None, **arguments):
    """(what an answer leaves without drafts, the same with them, and the answer with them)."""
    session = model.session(n_ctx)
    with drafted(model):
        plain = model.generate(PROMPT, session=session, constraint=new_guide(), **arguments)
        expected = told(plain, session)
    after = next_logits(session)
    session.rewind(0)  # gives its memory back
    with drafted(model, lambda session: KnownAnswer([*plain.tokens, 7, 7, 7, 7, 7, 7, 7, 7], wrong)):
        session = model.session(n_ctx)
        generation = model.generate(PROMPT, session=session, constraint=new_guide(), **arguments)
        found = told(generation, session)
    np.testing.assert_array_equal(next_logits(session), after)
    return expected, found, generation


@pytest.fixture(scope="module")
def model(small_path):
    """A model whose prompts take the row form, so that one session's bits are another's."""
    with glmq.load(small_path, n_ctx=256, deterministic=True) as loaded:
        yield loaded


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_of_every_sampler(model, sampling, wrong):
    expected, found, generation = both(model, wrong, sampling=sampling, max_tokens=40, logprobs=3)
    assert found == expected
    timings = generation.timings
    assert timings.n_drafted >= timings.n_accepted > 8
    if not wrong and generation.finish_reason == "length":  # else guesses behind the end were wrong
        assert timings.n_accepted == timings.n_drafted


def test_the_logits_of_a_draft_are_those_of_single_tokens(model):
    tokens = model.tokenize("abcdefgh")
    one_by_one, at_once = model.session(), model.session()
    for session in (one_by_one, at_once):
        session.evaluate(model.tokenize("xyz"))
    first = at_once.evaluate(tokens[:1], draft=tokens[1:])
    np.testing.assert_array_equal(first, one_by_one.evaluate(tokens[:1]))
    for token in tokens[1:]:
        assert at_once.knows([token])
        np.testing.assert_array_equal(at_once.evaluate([token]), one_by_one.evaluate([token]))
        assert at_once.tokens == one_by_one.tokens
    assert not at_once.knows([tokens[0]])


@pytest.mark.parametrize("max_tokens", range(1, 12))
def test_with_a_limit_anywhere(model, max_tokens):
    expected, found, _ = both(model, sampling=FREE, max_tokens=max_tokens)
    assert found == expected
    assert found["finish_reason"] == "length"


@pytest.mark.parametrize("max_tokens", (1, 2, 5, 9, 10, 17))
def test_no_more_is_checked_than_a_limit_lets_follow(model, max_tokens):
    _, _, generation = both(model, 0, sampling=FREE, max_tokens=max_tokens)
    timings = generation.timings
    n_runs = 1 + -(-(max_tokens - 1) // ROW_TOKENS)
    assert timings.n_drafted == timings.n_accepted == max_tokens - n_runs


@pytest.mark.parametrize("more", range(1, 12))
def test_where_the_context_ends(model, more):
    expected, found, _ = both(model, n_ctx=len(model.tokenize(PROMPT)) + more, sampling=FREE)
    assert found == expected
    assert found["finish_reason"] in ("context", "stop")


@pytest.mark.parametrize("place", range(1, 10))
def test_with_a_stop_text_anywhere(model, place):
    with drafted(model):
        plain = model.generate(PROMPT, sampling=FREE, max_tokens=30)
        plain.run()
    stop = plain.text[place : place + 3]
    expected, found, _ = both(model, sampling=FREE, max_tokens=30, stop=stop)
    assert found == expected
    assert found["finish_reason"] == "stop"


@pytest.mark.parametrize("wrong", WRONG)
def test_where_the_model_ends_its_answer(model, wrong):
    end = min(model.tokenizer.eog_ids)
    sampling = glmq.Sampling(temperature=1.5, seed=8, logit_bias={end: 6.0}, top_k=0, top_p=1, min_p=0)
    expected, found, _ = both(model, wrong, sampling=sampling, max_tokens=60)
    assert found == expected
    assert found["finish_reason"] == "stop"


@pytest.mark.parametrize("n_pieces", range(1, 10))
def test_left_or_cancelled_anywhere(model, n_pieces):
    left = []
    with drafted(model):
        plain = model.generate(PROMPT, sampling=FREE, max_tokens=40)
        plain.run()
    for drafters in ((), (lambda session: KnownAnswer(plain.tokens, 4),)):
        with drafted(model, *drafters):
            for end in ("close", "cancel"):
                session = model.session()
                generation = model.generate(PROMPT, sampling=FREE, max_tokens=40, session=session)
                for _ in range(n_pieces):
                    next(iter(generation))
                if end == "close":
                    generation.close()
                else:
                    generation.cancel()
                    list(generation)
                left.append((generation.tokens, generation.finish_reason, session.tokens, session.drawn))
    assert left[:2] == left[2:]


def test_of_latent_attention(tmp_path):
    with glmq.load(write_deepseek2(tmp_path / "latent.gguf", "Q8_0"), deterministic=True) as latent:
        expected, found, generation = both(latent, sampling=FREE, max_tokens=30)
    assert found == expected
    assert generation.timings.n_accepted


def test_with_experts_on_disk(monkeypatch, tmp_path, small_path):
    monkeypatch.setattr("glmq.experts.profile.cache_folder", lambda: tmp_path)
    with load_from_disk(monkeypatch, small_path, 4, n_ctx=256, deterministic=True) as loaded:
        expected, found, generation = both(loaded, sampling=FREE, max_tokens=30)
    assert found == expected
    assert generation.timings.n_accepted


def test_of_many_sequences_in_the_same_steps(model):
    prompts = [f"Sequence number {i} of several" for i in range(4)]
    with drafted(model):
        plain = [model.generate(prompt, sampling=FREE, max_tokens=40) for prompt in prompts]
        for each in plain:
            each.run()
    answers = iter(plain)
    with drafted(model, lambda session: KnownAnswer(next(answers).tokens, 3)):
        together = [model.generate(prompt, sampling=FREE, max_tokens=40) for prompt in prompts]
        firsts = [next(iter(each)) for each in together]  # drafters are handed out in order
        threads = [threading.Thread(target=each.run) for each in together]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(firsts) == len(prompts)
    assert [each.tokens for each in together] == [each.tokens for each in plain]
    assert all(each.timings.n_accepted for each in together)


def look_up(index, session):
    return LookUp(index)


def test_looking_up_over_the_turns_of_a_session(model):
    """A session's index knows earlier answers; greedy answers of a small model repeat themselves."""
    texts = []
    for drafters in ((), (partial(look_up, TextIndex()),)):
        session, prompt = model.session(), model.tokenize(PROMPT)
        with drafted(model, *drafters):
            for _ in range(3):
                generation = model.generate(prompt, sampling=GREEDY, max_tokens=40, session=session)
                generation.run()
                texts.append((generation.tokens, generation.looping, list(session.tokens)))
                prompt = [*prompt, *generation.tokens, *model.tokenize("go on")]
    assert texts[:3] == texts[3:]
    assert generation.timings.n_accepted > 8


def known_answer(known, session):
    return KnownAnswer(known[0], 3)


def test_a_saved_session_goes_on_alike(model, tmp_path):
    known: list = []
    for drafters in ((), (partial(known_answer, known),)):
        with drafted(model, *drafters):
            session = model.session()
            generation = model.generate(PROMPT, sampling=FREE, max_tokens=90, session=session)
            generation.run()
            session.save(tmp_path / "saved", force=True)
            restored = model.restore_session(tmp_path / "saved").session
            assert (restored.tokens, restored.drawn) == (session.tokens, session.drawn)
            known += [generation.tokens, restored.tokens, restored.drawn, restored.evaluate([9]).tolist()]
    assert known[:4] == known[4:]


def test_a_draft_is_left_out_where_there_is_no_memory_for_it(small_path):
    with glmq.load(small_path, n_ctx=256, deterministic=True) as small:
        small._engine.prefix_tree.pool.max_pages = 3  # of 64 positions
        other = small.session()
        other.evaluate([9] * 10)
        endless = glmq.Sampling(seed=1, logit_bias=dict.fromkeys(small.tokenizer.eog_ids, -np.inf))
        expected, found, _ = both(small, 0, sampling=endless)
    assert found == expected
    assert len(found["session"]) == 128
    assert found["finish_reason"] == "context"


def test_a_draft_is_never_published_before_it_is_accepted(model):
    tree = model._engine.prefix_tree
    session = model.session()
    prompt = [3] * 60
    session.evaluate(prompt)
    session.evaluate([4], draft=[5] * (ROW_TOKENS - 1))
    assert tree.match([*prompt, 4, 5, 5, 5, 5])[1] <= 60
    session.forget_draft()
    assert session.tokens == [*prompt, 4]
    for token in [6] * 8:
        session.evaluate([token])
    assert tree.match([*prompt, 4, 6, 6, 6, 9])[1] == 64


def test_a_guess_with_logits_that_are_no_numbers_does_no_harm(model, monkeypatch):
    """Only where it is drawn the answer ends with an error, as it does without drafts."""
    run_step = model._engine.run_step

    def spoil(chunks, n_sections, goes_on):
        done = run_step(chunks, n_sections, goes_on)
        for chunk in chunks:
            rows = chunk.tokens[chunk.n_tokens - len(chunk.logits) :] == 200
            chunk.logits[rows] = np.nan
        return done

    monkeypatch.setattr(model._engine, "run_step", spoil)
    session = model.session()
    session.evaluate([1, 2])
    session.evaluate([3], draft=[4, 200])
    session.evaluate([4])
    with pytest.raises(glmq.NotFinite):
        session.evaluate([200])
    assert session.tokens == [1, 2, 3, 4]
    session.evaluate([5])


class Interrupted(KnownAnswer):
    """Is cancelled, or finds the model closed, when a draft is made."""

    costs = True  # so that nothing but drafts asks for guesses

    def __init__(self, tokens, error):
        super().__init__(tokens)
        self._error = error

    def propose(self, n_most, wants_more=None):
        if n_most > 1:
            raise self._error
        return super().propose(n_most)


@pytest.mark.parametrize("error", (Cancelled(), glmq.ModelClosed("closed")), ids=repr)
def test_what_ends_guessing_early_ends_the_answer_as_cancelled(model, error):
    session = model.session()
    with drafted(model, lambda session: Interrupted(model.tokenize("never"), error)):
        generation = model.generate(PROMPT, sampling=FREE, max_tokens=40, session=session)
        generation.run()
    assert generation.finish_reason == "cancelled"
    assert [*session.tokens, *session.drawn] == [*generation.prompt, *generation.tokens]


def test_a_model_that_is_closed_in_the_middle_of_what_came_true(small_path):
    with glmq.load(small_path, n_ctx=256, draft="off") as small:
        plain = small.generate(PROMPT, sampling=FREE, max_tokens=40)
        plain.run()
        with drafted(small, lambda session: KnownAnswer(plain.tokens)):
            session = small.session()
            generation = small.generate(PROMPT, sampling=FREE, max_tokens=40, session=session)
            next(iter(generation))
            small.close()
            generation.run()
        assert generation.finish_reason == "cancelled"


@pytest.mark.slow
def test_tokens_behind_guesses_that_came_true_are_distributed_as_without(model):
    """Chi-square of the third tokens of answers whose first two are the likeliest, which are guessed too."""
    free = glmq.Sampling(temperature=0.6, top_k=8, top_p=1, min_p=0)
    prompt, session = model.tokenize(PROMPT), model.session()
    first = int(session.evaluate(prompt).argmax())
    second = int(session.evaluate([first]).argmax())
    ids, probabilities = Sampler(free).distribution(session.evaluate([second]))
    counts = dict.fromkeys(ids.tolist(), 0)
    with drafted(model, lambda session: KnownAnswer([first, second, int(ids[1]), int(ids[0])])):
        for seed in range(3000):
            generation = model.generate(prompt, sampling=replace(free, seed=seed), max_tokens=4)
            generation.run()
            if generation.tokens[:2] == [first, second] and len(generation.tokens) > 2:
                counts[generation.tokens[2]] += 1
    n = sum(counts.values())
    assert n > 100
    expected = dict(zip(ids.tolist(), (probabilities * n).tolist(), strict=True))
    chi_square = sum((counts[token] - each) ** 2 / each for token, each in expected.items() if each > 1)
    assert chi_square < 31  # of at most 7 degrees of freedom: 1 in 15,000
