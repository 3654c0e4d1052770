"""Sessions to be saved, and whether a restored one goes on as they do."""

from __future__ import annotations

import json

import numpy as np
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE

from glmq import commit_file
from glmq.kv_cache.page_copy import copy_positions

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


def assert_holds_the_same(restored, session, n=None):
    """Keys and values of the first `n` positions, those of all by default."""
    shape, n = session.sequence.shape, len(session.tokens) if n is None else n
    assert restored.tokens == session.tokens[:n]
    for i, pages in enumerate(zip(restored.sequence.pages, session.sequence.pages, strict=False)):
        n_here = min(n - i * POSITIONS_PER_PAGE, POSITIONS_PER_PAGE)
        mine, its = (np.zeros(shape.page_bytes, np.uint8) for _ in range(2))
        for page, copy in zip(pages, (mine, its), strict=True):
            copy_positions(shape, page.bytes, copy, n_here)
        np.testing.assert_array_equal(mine, its)


def saved(model, path, text=TEXT):
    session = evaluated(model, text)
    session.save(path, EXTRA)
    return session


def write_older_file(path, session):
    """A session file as older versions wrote it.

    Its pages have 32 positions, the keys of all layers and kv heads first, then the values of all.
    """
    shape, n_heads = (
        session.sequence.shape,
        session.sequence.shape.n_layers * session.sequence.shape.n_kv_heads,
    )
    state = {
        "id": "old",
        "model": session.file.fingerprint,
        "architecture": "glm4moe",
        "layout": 1,
        "cache": {
            "n_layers": shape.n_layers,
            "n_kv_heads": shape.n_kv_heads,
            "head_dim": shape.key_dim,
            "type": shape.type,
        },
        "tokens": session.tokens,
        "drawn": session.drawn,
    }
    with open(path, "w+b", buffering=0) as file:
        save = commit_file.Save(file, 32 * shape.position_bytes)
        for first in range(0, len(session.tokens), 32):
            page = session.sequence.pages[first // POSITIONS_PER_PAGE].bytes.reshape(n_heads, -1)
            keys, values = np.split(page, [POSITIONS_PER_PAGE * shape.key_bytes], axis=1)
            part = first % POSITIONS_PER_PAGE // 32
            halves = [np.split(each, POSITIONS_PER_PAGE // 32, axis=1)[part] for each in (keys, values)]
            save.add_page(memoryview(b"".join(half.tobytes() for half in halves)))
        save.commit(save.record(json.dumps(EXTRA).encode(), json.dumps(state).encode()))
