"""Generations with guides, which force tokens and rule others out."""

from __future__ import annotations

import json
from itertools import chain, repeat, takewhile

import jsonschema
import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.constraint import json_schema_constraint

from .test_generation import FREE, GREEDY, Script


class Fixed:
    """A guide that forces tokens, a batch at a time, then allows what `allowed` has, as it does where None
    stands in the place of a batch."""

    def __init__(self, *forced, allowed=(), ends=False):
        self._forced, self._allowed, self._ends = list(forced), list(allowed), ends
        self.accepted = []

    @property
    def finished(self):
        return self._ends and not self._forced

    def forced(self):
        return (self._forced[0] or ()) if self._forced else ()

    def mask(self, logits):
        kept = logits[self._allowed]
        logits.fill(-np.inf)
        logits[self._allowed] = kept

    def n_allowed(self, tokens):
        """As many as it forces, and then those it allows."""
        free = {*self._allowed}
        places = [{token} if batch else free for batch in self._forced for token in batch or (0,)]
        following = zip(tokens, chain(places, repeat(free)), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] in pair[1], following))

    def accept(self, token):
        self.accepted.append(token)
        if self._forced:
            batch = self._forced.pop(0) or [token]
            assert token == batch[0]
            if batch[1:]:
                self._forced.insert(0, batch[1:])


class Counted(Script):
    """A session that notes what is evaluated together."""

    def __init__(self, session):
        super().__init__(session, ())
        object.__setattr__(self, "batches", [])

    def evaluate(self, tokens, progress=None, **user):
        self.batches.append(list(tokens))
        return self._session.evaluate(tokens, progress, **user)


def test_forced_tokens_stream_one_by_one_and_are_evaluated_together(small):
    session, said = Counted(small.session()), small.tokenize("so it is said")
    guide = Fixed(said[:3], said[3:8], said[8:], ends=True)
    generation = small.generate("xy", session=session, constraint=guide)
    assert list(generation) == list("so it is said")
    assert session.batches == [small.tokenize("xy"), said[:8]]
    assert (generation.tokens, generation.finish_reason) == (said, "stop")
    assert guide.accepted == said
    assert session.drawn == said[8:]
    assert generation.timings.n_generated == len(said)


@pytest.mark.parametrize(("n_forced", "n_runs"), [(7, 1), (8, 2)])
def test_a_drawn_token_is_evaluated_with_those_forced_behind_it(small, n_forced, n_runs):
    """As long as one run takes all of them in the row form, as for each of them alone."""
    session, drawn, forced = Counted(small.session()), small.tokenize("x"), small.tokenize("a") * n_forced
    guide = Fixed(None, forced, allowed=drawn)
    generation = small.generate("xy", session=session, constraint=guide, max_tokens=n_forced + 2)
    assert generation.run() == f"x{'a' * n_forced}x"
    runs = [[*drawn, *forced]] if n_runs == 1 else [drawn, forced]
    assert session.batches == [small.tokenize("xy"), *runs]


def test_a_guide_rules_out_tokens(small):
    guide = Fixed(small.tokenize("ab"), allowed=small.tokenize("xyz"))
    generation = small.generate("x", sampling=FREE, constraint=guide, max_tokens=30)
    text = generation.run()
    assert text[:2] == "ab"
    assert set(text[2:]) == set("xyz")
    assert generation.finish_reason == "length"
    assert guide.accepted == generation.tokens


def test_an_end_of_generation_that_a_guide_allows_ends_it(small):
    guide = Fixed(allowed=small.tokenize("<|user|>"))
    generation = small.generate("x", constraint=guide)
    assert (generation.run(), generation.finish_reason, guide.accepted) == ("", "stop", [])


def test_a_complete_answer_ends_as_such_at_any_limit(small):
    said = small.tokenize("abc")
    generation = small.generate("x", constraint=Fixed(said, ends=True), max_tokens=3)
    assert (generation.run(), generation.finish_reason) == ("abc", "stop")


def test_limits_hold_inside_forced_tokens(small):
    forced = small.tokenize("one two three")
    session = small.session()
    generation = small.generate("x", constraint=Fixed(forced), max_tokens=5, session=session)
    assert (generation.run(), generation.finish_reason) == ("one t", "length")
    assert session.drawn == forced[:5]

    session = small.session()
    generation = small.generate("x", constraint=Fixed(forced), stop=["two"], session=session)
    assert (generation.run(), generation.finish_reason) == ("one ", "stop")
    assert session.drawn == generation.tokens == forced[:7]

    generation = small.generate("x", constraint=Fixed(forced), session=small.session())
    pieces = iter(generation)
    next(pieces)
    generation.cancel()
    assert list(pieces) == []
    assert (generation.text, generation.finish_reason) == ("o", "cancelled")


def test_a_context_that_forced_tokens_fill_ends_it(small):
    session = small.session(n_ctx=16)
    generation = small.generate("x" * 10, constraint=Fixed(small.tokenize("0123456789")), session=session)
    assert (generation.run(), generation.finish_reason) == ("0123456", "context")
    assert len(session.tokens) + len(session.drawn) == 17


def test_json_from_a_model_fits_its_schema_with_and_without_forced_tokens(small):
    schema = {
        "type": "object",
        "properties": {"first name": {"enum": ["Ann", "Bob"]}, "age": {"type": "integer", "maximum": 99}},
        "required": ["first name", "age"],
        "additionalProperties": False,
    }
    constraint = json_schema_constraint(schema)

    class WithoutForced:
        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            return (lambda: ()) if name == "forced" else getattr(self._inner, name)

    generation = small.generate("x", sampling=GREEDY, constraint=constraint)
    jsonschema.validate(json.loads(generation.run()), schema)
    assert generation.finish_reason == "stop"
    guide = WithoutForced(constraint.guide(small.tokenizer))
    slowly = small.generate("x", sampling=GREEDY, constraint=guide, session=small.session())
    assert slowly.run() == generation.text
    for seed in range(5):
        sampling = glmq.Sampling(temperature=2, top_k=0, top_p=1, min_p=0, seed=seed)
        jsonschema.validate(
            json.loads(small.generate("x", sampling=sampling, constraint=constraint).run()), schema
        )


def test_a_guide_that_fails_leaves_a_usable_session(small):
    class Failing(Fixed):
        def accept(self, token):
            raise GlmqError("no further")

    session = small.session()
    with pytest.raises(GlmqError, match="no further"):
        small.generate("abc", constraint=Failing(small.tokenize("x")), session=session).run()
    assert small.generate("abc", session=session, max_tokens=2).run() is not None
