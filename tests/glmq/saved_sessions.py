"""Sessions to be saved, and whether a restored one goes on as they do."""

from __future__ import annotations

import numpy as np

TEXT = "A conversation of some length, so that it takes more than one page of the file. " * 2
EXTRA = {"messages": [{"role": "user", "content": "Grüße, \ud800 und 你好"}], "temperature": 0.5}


def evaluated(model, text=TEXT, **arguments):
    """A session that holds a text, in batches that a restored one could not repeat by accident."""
    session = model.session(**arguments)
    tokens = model.tokenize(text)
    for part in np.array_split(tokens, 3):
        if part.size:
            session.evaluate(part)
    return session


def greedy(session, n=12, token=65):
    """Logits of a few greedy steps."""
    steps = []
    for _ in range(n):
        steps.append(session.evaluate([token]))
        token = int(steps[-1].argmax())
    return np.array(steps)


def assert_goes_on_alike(restored, saved):
    assert restored.reason is None
    assert restored.session.tokens == saved.tokens
    assert restored.session.drawn == saved.drawn
    np.testing.assert_array_equal(greedy(restored.session), greedy(saved))


# What is restored


def saved(model, path, text=TEXT):
    session = evaluated(model, text)
    session.save(path, EXTRA)
    return session
