"""Any mix of sequences in the steps of one model gives each the logits that it gets alone.

Decoded tokens (and checked drafts) get the same bits, because they always take the row form of products. What
a prompt is cut into, and what of it others have evaluated before, changes the form of some tokens, and so
the rounding: the logits of a small random Q8_0 model differ by less than 1% of their range, but for tokens
of which rounding decides what experts they go to.
"""

from __future__ import annotations

import os
import random
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import glmq
from glmq.errors import OutOfPages

from .small_models import N_VOCAB
from .test_closing import join, run_aside

ROUNDING = 0.01
"""Of the range of logits, how much the form of prompts may change them."""

OTHER_EXPERTS = 0.1
"""And how much a token's, of whose experts one is another. Another sequence's rows make it as large as 1."""

N_PAGES = 12
"""Pages of the pool, few enough that prefixes are evicted."""

GREEDY = glmq.Sampling(temperature=0)


def limited(model, n_pages):
    """The model with so little memory for keys and values."""
    model._engine.prefix_tree.pool.max_pages = n_pages
    return model


class Mixed(RuleBasedStateMachine):
    """Sessions that grow, shrink, fork prefixes and come and go, several of them in the same steps.

    Each has the tokens that it should hold, and a model of its own memory evaluates the same alone.
    """

    model: glmq.Model
    alone: glmq.Model
    same_bits: bool

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed):
        self.rng = np.random.default_rng(seed)
        self.sessions, self.expected = [], []
        self.texts = [self.rng.integers(0, N_VOCAB, 200).tolist() for _ in range(2)]

    def pick(self, at):
        return at % len(self.sessions) if self.sessions else None

    def new(self):
        self.sessions.append(self.model.session())
        self.expected.append(self.alone.session())

    def evaluate_together(self, wanted):
        """Evaluate tokens of several sessions at the same time, each in a thread, and compare."""
        threads = [
            run_aside(lambda i=i, tokens=tokens: self.sessions[i].evaluate_all(tokens))
            for i, tokens in wanted.items()
        ]
        for thread, _ in threads:
            join(thread)
        for (i, tokens), (_, found) in zip(wanted.items(), threads, strict=True):
            if isinstance(found[0], OutOfPages | glmq.ContextFull):
                continue
            if isinstance(found[0], BaseException):
                raise found[0]
            self.compare(i, tokens, found[0])

    def compare(self, i, tokens, logits):
        expected = self.expected[i].evaluate_all(tokens)
        if self.same_bits:
            np.testing.assert_array_equal(logits, expected)
        else:
            off = np.abs(logits - expected).max(axis=1) / np.ptp(expected)
            assert off.max() < OTHER_EXPERTS and (len(off) == 1 or np.median(off) < ROUNDING), off

    @rule(lengths=st.lists(st.integers(0, 130), min_size=1, max_size=4), text=st.integers(0, 1))
    def read_prompts(self, lengths, text):
        """New sequences begin with a common text, read side by side."""
        for _ in lengths:
            self.new()
        first = len(self.sessions) - len(lengths)
        wanted = {}
        for i, n in enumerate(lengths, first):
            prompt = [*self.texts[text][:n], *self.rng.integers(0, N_VOCAB, 1 + n % 7).tolist()]
            n_cached = self.sessions[i].adopt(prompt[:-1])
            if n_cached:
                self.expected[i].evaluate(prompt[:n_cached])
            wanted[i] = prompt[n_cached:]
        self.evaluate_together(wanted)

    @rule(n_steps=st.integers(1, 5))
    def decode_together(self, n_steps):
        """All sequences decode some tokens."""
        for _ in range(n_steps):
            self.evaluate_together(
                {
                    i: self.rng.integers(0, N_VOCAB, 1).tolist()
                    for i, session in enumerate(self.sessions)
                    if len(session.tokens) < session.n_ctx
                }
            )

    @rule(at=st.integers(0, 99), n_draft=st.integers(1, 7), n_accepted=st.integers(0, 7))
    def check_a_draft(self, at, n_draft, n_accepted):
        """One evaluates a token and a draft behind it, beside others that decode; some of it is rejected."""
        i = self.pick(at)
        if i is None or len(self.sessions[i].tokens) + n_draft + 1 > self.sessions[i].n_ctx:
            return
        n_before = len(self.sessions[i].tokens)
        wanted = {
            j: self.rng.integers(0, N_VOCAB, n_draft + 1 if j == i else 1).tolist()
            for j, session in enumerate(self.sessions)
            if len(session.tokens) < session.n_ctx
        }
        self.evaluate_together(wanted)
        kept = min(n_before + 1 + min(n_accepted, n_draft), len(self.sessions[i].tokens))
        self.sessions[i].rewind(kept)
        self.expected[i].rewind(kept)

    @rule(at=st.integers(0, 99), share=st.floats(0, 1))
    def rewind(self, at, share):
        i = self.pick(at)
        if i is not None:
            n = int(share * len(self.sessions[i].tokens))
            self.sessions[i].rewind(n)
            self.expected[i].rewind(n)

    @rule(at=st.integers(0, 99))
    def drop(self, at):
        i = self.pick(at)
        if i is not None:
            self.sessions[i].sequence.release()
            del self.sessions[i], self.expected[i]

    @invariant()
    def tokens_are_those_expected(self):
        if hasattr(self, "sessions"):
            assert [s.tokens for s in self.sessions] == [e.tokens for e in self.expected]
            assert self.model._engine.prefix_tree.statistics().n_used <= N_PAGES

    def teardown(self):
        for session in getattr(self, "sessions", ()):
            session.sequence.release(publish=False)


@pytest.fixture(params=(False, True), ids=("forms as they come", "deterministic"))
def machine(request, small_path):
    deterministic = request.param
    with (
        glmq.load(small_path, n_ctx=256, deterministic=deterministic) as model,
        glmq.load(small_path, n_ctx=256, deterministic=deterministic) as alone,
    ):
        limited(model, N_PAGES)
        model._engine.scheduler.max_tokens = 48

        class OfThisModel(Mixed):
            pass

        OfThisModel.model, OfThisModel.alone = model, alone
        OfThisModel.same_bits = deterministic
        yield OfThisModel


def run(machine, n_examples, n_steps):
    kept = settings(
        phases=(Phase.generate,),
        max_examples=n_examples, stateful_step_count=n_steps, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(machine, settings=kept)


def test_a_mix_of_sequences_gives_each_what_it_gets_alone(machine):
    run(machine, 8, 20)


@pytest.mark.slow
def test_a_long_mix_of_sequences_gives_each_what_it_gets_alone(machine):
    run(machine, 100, 60)


def decoded(session, tokens):
    return np.array([session.evaluate([token]) for token in tokens])


@pytest.mark.parametrize("n", (2, 5, 8, 11))
def test_decoded_tokens_have_the_same_bits_beside_others(small, n):
    """Beside other decoding sequences, and beside a prompt that is being read."""
    prompt, tokens = small.tokenize("x" * 50), list(range(40, 52))
    session = small.session()
    session.evaluate(prompt)
    alone = decoded(session, tokens)
    session.rewind(len(prompt))
    others = [small.session() for _ in range(n)]
    stop = threading.Event()

    def decode(other):
        while not stop.is_set():
            other.evaluate([66])
            if len(other.tokens) > 200:
                other.rewind(0)

    def read():
        reader = small.session()
        while not stop.is_set():
            reader.evaluate(list(range(150)))
            reader.rewind(0)

    threads = [run_aside(lambda other=other: decode(other))[0] for other in others] + [run_aside(read)[0]]
    try:
        beside = decoded(session, tokens)
    finally:
        stop.set()
        for thread in threads:
            join(thread)
    np.testing.assert_array_equal(beside, alone)


def chat_with_cancels(path, seconds, n_threads=16):
    """Threads that ask greedy questions and cancel some; every finished answer is that given alone."""
    rng = random.Random(1)
    questions = [f"{rng.choice('abcdefgh') * rng.randint(1, 60)}{i}" for i in range(12)]

    def asked(model, i):
        return model.chat([{"role": "user", "content": questions[i]}], sampling=GREEDY, max_tokens=16)

    n_finished = [0] * n_threads
    with glmq.load(path, n_ctx=256, deterministic=True) as model:
        alone = []
        for i in range(len(questions)):
            with glmq.load(path, n_ctx=256, deterministic=True) as fresh:
                answer = asked(fresh, i)
                answer.run()
                alone.append(answer.generation.tokens)
        stop = threading.Event()

        def talk(number):
            own = random.Random(number)
            while not stop.is_set():
                i = own.randrange(len(questions))
                answer = asked(model, i)
                cancel = threading.Timer(own.random() * 0.1, answer.cancel) if own.random() < 0.4 else None
                if cancel:
                    cancel.start()
                answer.run()
                if cancel:
                    cancel.join()
                tokens = answer.generation.tokens
                if answer.finish_reason != "cancelled":
                    assert tokens == alone[i]
                    n_finished[number] += 1
                else:
                    assert tokens == alone[i][: len(tokens)]

        threads = [run_aside(lambda i=i: talk(i)) for i in range(n_threads)]
        stop.wait(seconds)
        stop.set()
        for thread, found in threads:
            join(thread)
            assert found == [None], found
        statistics = model._engine.prefix_tree.statistics()
        assert statistics.n_used == 0
        assert statistics.n_bytes <= statistics.n_pages * statistics.page_bytes
    assert all(n_finished)


def test_threads_that_chat_and_cancel_get_the_answers_given_alone(small_path):
    chat_with_cancels(small_path, seconds=float(os.environ.get("GLMQ_CHAT_SECONDS", "4")))


@pytest.mark.slow
def test_threads_that_chat_and_cancel_for_a_minute_get_the_answers_given_alone(small_path):
    chat_with_cancels(small_path, seconds=60)


def test_decoding_goes_on_while_a_long_prompt_is_read(small_path):
    """Their tokens stand in the same steps."""
    with glmq.load(small_path, n_ctx=512) as model:
        model._engine.scheduler.max_tokens = 32
        decoding, reading = model.session(), model.session()
        decoding.evaluate([1])
        steps = []
        run_step = model._engine.run_step

        def noted(chunks, n_sections, goes_on):
            steps.append({chunk.request.sequence: chunk.n_tokens for chunk in chunks})
            return run_step(chunks, n_sections, goes_on)

        model._engine.run_step = noted
        thread, found = run_aside(lambda: reading.evaluate(list(range(300))))
        while not found:
            decoding.evaluate([2])
        join(thread)
        prompt_steps = [step for step in steps if reading.sequence in step]
        assert len(prompt_steps) >= 300 // 32
        assert sum(decoding.sequence in step for step in prompt_steps) >= 2
