"""Prompts and answers behind thousands of positions of a session file are what float64 gives for each."""

from __future__ import annotations

import numpy as np
import pytest

import glmq

from .behind_cache import BehindCache, Row, fill_page
from .small_models import N_VOCAB, write_glm4moe

P = 64
N_READ, N_FILLED, N_PROMPT, N_DECODED = 3 * P, 63 * P, 300, 4
CONTEXT = N_FILLED + N_PROMPT + N_DECODED
SHARPNESS = 3.0
"""Queries are so much longer that few of the positions have most of a head's attention."""
OPTIONS = {"n_ctx": CONTEXT, "cache_type": "Q8_0", "activations": "f32", "draft": "off"}
CLOSENESS = 3e-4
"""How far logits may be off, in parts of their range."""

TOKENS = np.random.default_rng(1).integers(0, N_VOCAB - 20, CONTEXT).tolist()
PROMPT_ROWS = [0, 1, N_PROMPT // 2, N_PROMPT - 1]


def sharpen(model):
    for name, tensor in model.writer.tensors[0].items():
        if "attn_q." in name:
            tensor.tensor.view(np.float32)[...] *= SHARPNESS


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Of a run behind a session file: the reference with its cache, and logits by position."""
    folder = tmp_path_factory.mktemp("long")
    path = write_glm4moe(folder / "model.gguf", n_ctx=CONTEXT, change=sharpen)
    saved = folder / "long.session"
    with glmq.load(path, **OPTIONS) as model:
        session, rng = model.session(), np.random.default_rng(2)
        session.evaluate(TOKENS[:N_READ])
        sequence = session.sequence
        sequence.reserve(N_FILLED - N_READ)
        for page in sequence.pages[N_READ // P :]:
            fill_page(page.bytes, sequence.shape, [(1.0, 1.0)] * sequence.shape.n_layers, rng)
        sequence.extend(TOKENS[N_READ:N_FILLED])
        session.save(saved)
    with glmq.load(path, **OPTIONS) as model:
        session = model.restore_session(saved).session
        of_prompt = session.evaluate_all(TOKENS[N_FILLED : N_FILLED + N_PROMPT])
        logits = {N_FILLED + i: of_prompt[i] for i in PROMPT_ROWS}
        for position in range(N_FILLED + N_PROMPT, CONTEXT):
            logits[position] = session.evaluate([TOKENS[position]])
        pages = [page.bytes.copy() for page in session.sequence.pages]
        yield BehindCache(model.file, session.sequence.shape, pages), logits


def rows_of(positions, left_out=range(0)):
    return [Row(TOKENS[position], position, left_out) for position in positions]


def off(found, expected):
    """By the range of the expected, for each row."""
    return np.abs(found - expected).max(axis=1) / np.ptp(expected, axis=1)


def test_logits(found):
    reference, logits = found
    expected = reference.outputs(rows_of(logits))
    assert off(np.array([*logits.values()]), expected.logits).max() < CLOSENESS


def test_what_is_kept_of_the_tokens(found):
    reference, logits = found
    positions = [*logits]
    outputs = reference.outputs(rows_of(logits))
    for layer, (keys, values) in enumerate(zip(outputs.keys, outputs.values, strict=True)):
        for head in range(keys.shape[1]):
            for kept, exact in zip(reference.kept(layer, head), (keys, values), strict=True):
                step = np.abs(exact[:, head]).max() / 127
                assert np.abs(kept[positions] - exact[:, head]).max() < 0.6 * step


def test_a_page_that_were_missing_would_be_seen(found):
    """The first, of those read the last, of those filled the first, one amid them and the last."""
    reference, _ = found
    pages = (0, N_READ // P - 1, N_READ // P, N_FILLED // P // 2, N_FILLED // P - 1)
    for part in ([N_FILLED], [CONTEXT - 1]):
        left_out = [range(0), *(range(page * P, (page + 1) * P) for page in pages)]
        rows = [row for places in left_out for row in rows_of(part, places)]
        whole, *without = reference.outputs(rows).logits
        assert off(np.array(without), whole[None]).min() > 4 * CLOSENESS
