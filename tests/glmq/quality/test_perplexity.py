"""Perplexity by llama.cpp's definition: chunks read alone, the second half of each counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.quality import chunk_logits
from glmq.quality.chunks import Chunks, chunks_of, chunks_of_text
from glmq.quality.perplexity import perplexity

GOLDEN = Path(__file__).parent.parent.parent / "golden"
TEXT = (GOLDEN / "licence.txt").read_text(encoding="utf-8")


def nll_of_chunk(model, chunk):
    """-ln p of the tokens of a chunk's second half, of all logits in float64."""
    logits = model.logits(chunk).astype(np.float64)
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return [-log_p[i, chunk[i + 1]] for i in range(len(chunk) // 2, len(chunk) - 1)]


@pytest.fixture
def chunks(small):
    return chunks_of(small.tokenize(TEXT)[:170], n_ctx=32)


def test_it_is_that_of_llama_cpp():
    expected = json.loads((GOLDEN / "perplexity.json").read_text())
    with glmq.load("demo-tools") as model:
        found = perplexity(model, chunks_of_text(model.tokenizer, TEXT, expected["n_ctx"]))
    assert found.n_counted == expected["n_counted"]
    assert found.value == pytest.approx(expected["perplexity"], rel=1e-3)
    assert found.error == pytest.approx(expected["error"], rel=1e-2)


def test_it_is_the_exponential_of_the_mean_over_second_halves(small, chunks):
    nll = [each for chunk in chunks.tokens.tolist() for each in nll_of_chunk(small, chunk)]
    found = perplexity(small, chunks)
    assert (found.n_chunks, found.n_counted, found.n_ctx) == (5, 5 * 15, 32)
    assert found.mean_nll == pytest.approx(np.mean(nll), rel=1e-3)
    assert found.value == pytest.approx(np.exp(np.mean(nll)), rel=1e-3)
    assert found.error == pytest.approx(found.value * np.std(nll) / np.sqrt(len(nll) - 1), rel=1e-2)


def test_logits_come_by_parts_where_memory_asks_for_it(small, chunks, monkeypatch):
    whole = perplexity(small, chunks)
    monkeypatch.setattr(chunk_logits, "LOGITS_BYTES", 4 * small.n_vocab * 4)
    parts = list(chunk_logits.chunk_logits(small, chunks))
    assert max(len(part.logits) for part in parts) == 4
    assert [(part.chunk, part.row) for part in parts[:4]] == [(0, 0), (0, 4), (0, 8), (0, 12)]
    assert perplexity(small, chunks).value == pytest.approx(whole.value, rel=1e-3)


def test_progress_tells_what_came_of_each_chunk(small, chunks):
    told = []
    found = perplexity(small, chunks, lambda n, so_far: told.append((n, so_far)))
    assert [(n, so_far.n_chunks) for n, so_far in told] == [(5, i) for i in range(1, 6)]
    assert told[-1][1] == found


def test_what_is_left_of_the_text_is_not_read():
    assert chunks_of(range(99), n_ctx=32).tokens.tolist() == np.arange(96).reshape(3, 32).tolist()
    assert len(chunks_of(range(99), n_ctx=32, max_chunks=2)) == 2


def test_a_model_that_begins_texts_with_a_token_gets_it_in_place_of_the_first():
    chunks = Chunks(np.arange(16).reshape(2, 8), begins_with=99)
    assert chunks.read(1) == [99, 9, 10, 11, 12, 13, 14]
    assert chunks.following(1).tolist() == [13, 14, 15]


def test_a_text_of_less_than_two_chunks_is_refused():
    with pytest.raises(GlmqError, match="has 63 tokens; perplexity needs 64") as told:
        chunks_of(range(63), n_ctx=32)
    assert told.value.setting == "n_ctx"


def test_chunks_longer_than_the_models_context_are_refused(small):
    with pytest.raises(glmq.ContextFull):
        perplexity(small, chunks_of(range(600), n_ctx=300))
