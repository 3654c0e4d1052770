"""Generations: what ends them, what streams, what is evaluated again; the Python API around them."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.session import Session

from .small_models import N_VOCAB

GREEDY = glmq.Sampling(temperature=0)
FREE = glmq.Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=1)


def test_pieces_add_up_to_the_text_of_the_tokens(small):
    generation = small.generate("Hello", sampling=FREE, max_tokens=30)
    pieces = list(generation)
    assert "".join(pieces) == generation.text
    assert generation.text == small.tokenizer.decode(generation.tokens, special=False)
    assert generation.finish_reason in ("length", "stop")


def test_max_tokens(small):
    generation = small.generate("Hello", sampling=GREEDY, max_tokens=7)
    generation.run()
    assert (len(generation.tokens), generation.finish_reason) == (7, "length")
    assert generation.timings.n_generated == 7
    assert small.generate("Hello", max_tokens=0).run() == ""


def test_greedy_tokens_are_the_likeliest_of_the_logits(small):
    generation = small.generate("abc", sampling=GREEDY, max_tokens=5)
    generation.run()
    logits = small.logits(generation.prompt + generation.tokens)
    likeliest = logits.argmax(axis=1)[len(generation.prompt) - 1 : -1]
    assert generation.tokens == likeliest.tolist()


def test_a_seed_repeats_a_generation(small):
    first, second = (small.generate("x", sampling=FREE, max_tokens=20) for _ in range(2))
    assert first.run() == second.run()


class Script(Session):
    """Logits that make the model say given tokens."""

    __class__ = property(lambda self: glmq.Session)  # all else is what the session has

    def __init__(self, session, tokens):
        self._session, self._tokens = session, list(tokens)

    def __getattr__(self, name):
        return getattr(self._session, name)

    def __setattr__(self, name, value):
        if name in ("_session", "_tokens"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._session, name, value)

    def evaluate(self, tokens, progress=None, **user):
        self._session.evaluate(tokens, progress, **user)
        logits = np.zeros(N_VOCAB, np.float32)
        logits[self._tokens.pop(0)] = 10
        return logits


def scripted(model, text, **arguments):
    """A generation in which the model says `text`, in which special tokens are parsed."""
    session = Script(model.session(), model.tokenize(text))
    return model.generate("x", sampling=GREEDY, session=session, **arguments)


@pytest.mark.parametrize("end", ("<|endoftext|>", "<|user|>", "<|observation|>"))
def test_each_of_the_three_end_tokens_ends_it(small, end):
    generation = scripted(small, f"fine{end}more")
    assert generation.run() == "fine"
    assert generation.finish_reason == "stop"
    assert generation.tokens == small.tokenize("fine")


@pytest.mark.parametrize(
    ("said", "stop", "expected"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["three", "two"], "one "),
        ("aaab", ["aab"], "a"),
        ("abcabd", ["abd"], "abc"),
        ("no such", ["zzz"], "no such"),
        ("half en", ["end"], "half en"),
        ("é!", ["!"], "é"),
    ],
)
def test_stop_strings_end_it_before_them_and_never_leak(small, said, stop, expected):
    generation = scripted(small, f"{said}<|endoftext|>", stop=stop)
    assert "".join(generation) == generation.text == expected
    assert generation.finish_reason == "stop"


def test_half_a_character_at_the_end_is_replaced(small):
    bytes_of_euro = small.tokenize("€")
    session = Script(small.session(), [*bytes_of_euro[:2], *small.tokenize("<|endoftext|>")])
    assert small.generate("x", sampling=GREEDY, session=session).run() == "\ufffd"


@pytest.mark.parametrize("n_tokens", range(1, 9))
def test_a_character_that_a_limit_cuts_is_no_text(small, n_tokens):
    text = "é€🌸"
    tokens = small.tokenize(text)
    whole = text.encode()[:n_tokens].decode(errors="ignore")
    session = Script(small.session(), tokens)
    generation = small.generate("x", sampling=GREEDY, session=session, max_tokens=n_tokens)
    assert ("".join(generation), generation.text, generation.finish_reason) == (whole, whole, "length")
    assert generation.tokens == tokens[:n_tokens]

    full = small.session(n_ctx=n_tokens)
    generation = small.generate("x", sampling=GREEDY, session=Script(full, tokens))
    assert (generation.run(), generation.finish_reason) == (whole, "context")

    generation = small.generate("x", sampling=GREEDY, session=Script(small.session(), tokens))
    for _ in generation:
        if len(generation.tokens) >= n_tokens:
            generation.cancel()
    assert "\ufffd" not in generation.text


def test_bytes_that_are_no_character_are_replaced_in_the_middle(small):
    tokens = [*small.tokenize("a€")[:2], *small.tokenize("b")]
    session = Script(small.session(), tokens)
    assert small.generate("x", sampling=GREEDY, session=session, max_tokens=3).run() == "a\ufffdb"


@pytest.mark.parametrize("stop", ("four", ["four"], ["", "four"], ("zzz", "four")))
def test_a_stop_text_is_one_text_and_empty_ones_are_none(small, stop):
    generation = scripted(small, "three, four, five", stop=stop)
    assert (generation.run(), generation.finish_reason) == ("three, ", "stop")


def test_a_full_context_ends_it_and_leaves_the_session_usable(small):
    session = small.session(n_ctx=16)
    generation = small.generate("abcdefgh", sampling=FREE, session=session)
    generation.run()
    assert generation.finish_reason == "context"
    assert len(session.tokens) == 16
    assert small.generate("abc", session=session, max_tokens=2).run() is not None


def test_a_prompt_longer_than_the_context_is_refused_and_nothing_is_lost(small):
    session = small.session(n_ctx=16)
    small.generate("abc", session=session, max_tokens=2).run()
    before = list(session.tokens)
    with pytest.raises(glmq.ContextFull, match="make it larger"):
        small.generate("x" * 17, session=session).run()
    assert session.tokens == before


def test_an_empty_prompt_is_refused(small):
    with pytest.raises(GlmqError, match="empty"):
        small.generate("").run()


def test_the_common_beginning_is_not_evaluated_again(small):
    session = small.session()
    small.generate("The same beginning, one", session=session, max_tokens=1).run()
    second = small.generate("The same beginning, two", sampling=GREEDY, session=session, max_tokens=1)
    second.run()
    assert second.timings.n_cached == len("The same beginning, ")
    assert second.timings.n_prompt == 3
    fresh = small.generate("The same beginning, two", sampling=GREEDY, session=small.session(), max_tokens=1)
    fresh.run()
    assert fresh.tokens == second.tokens


def test_cancelling_from_another_thread(small):
    generation = small.generate("x", sampling=GREEDY, session=small.session())
    threading.Timer(0.05, generation.cancel).start()
    generation.run()
    assert generation.finish_reason in ("cancelled", "context", "stop")
    stopped = small.generate("x", sampling=GREEDY)
    stopped.cancel()
    assert stopped.run() == ""
    assert stopped.finish_reason == "cancelled"


def generate_for_ever(model, session):
    while True:
        model.generate("x", sampling=FREE, session=session).run()


def test_ctrl_c_leaves_a_usable_session(small):
    session = small.session()
    threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        generate_for_ever(small, session)
    again = small.generate("x", sampling=FREE, session=session, max_tokens=3)
    assert again.run() == small.generate("x", sampling=FREE, max_tokens=3, session=small.session()).run()


def test_the_next_turn_goes_on_with_the_tokens_that_were_drawn(small):
    session = small.session()
    messages = [{"role": "user", "content": "hi"}]
    first = small.chat(messages, session=session, sampling=FREE, max_tokens=12)
    text = first.run()
    messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "more"}]
    second = small.chat(messages, session=session, sampling=FREE, max_tokens=2)
    second.run()
    if "\ufffd" not in text:
        assert second.timings.n_cached >= len(first.generation.prompt)
    assert second.generation.prompt[0] == small.tokenize("[gMASK]")[0]
    assert second.generation.prompt.count(small.tokenize("[gMASK]")[0]) == 1


def test_models_and_sessions_are_independent(small, small_path):
    prompt = small.tokenize("independent")
    alone = small.logits(prompt)
    with glmq.load(small_path, n_threads=1) as other:
        sessions = [small.session(), other.session(), small.session()]
        for token in prompt:
            last = [session.evaluate([token]) for session in sessions]
    for logits in last:
        np.testing.assert_allclose(logits, alone[-1], atol=0.02 * np.ptp(alone))


def test_threads_share_a_model(small):
    expected = small.generate("shared", sampling=GREEDY, max_tokens=10, session=small.session()).run()
    found = []

    def work():
        found.append(small.generate("shared", sampling=GREEDY, max_tokens=10, session=small.session()).run())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"n_ctx": 0}, "too small"), ({"n_ctx": 100000}, "choose at most that"), ({"n_threads": 0}, "threads")],
    ids=str,
)
def test_loading_refuses_what_is_not_possible(small_path, arguments, message):
    with pytest.raises(GlmqError, match=message):
        glmq.load(small_path, **arguments)


def test_token_ids_outside_the_vocabulary_are_refused(small):
    with pytest.raises(GlmqError, match="between 0 and"):
        small.logits([N_VOCAB])
