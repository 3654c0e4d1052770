"""Files of a base model's predictions in llama.cpp's format, and the divergence of others from them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.quality.chunks import chunks_of
from glmq.quality.divergence import divergence
from glmq.quality.logits_file import LogitsFile, check_logits_target, logits_file_bytes, writing_logits
from glmq.quality.perplexity import perplexity

from ..small_models import write_glm4moe
from .test_perplexity import TEXT

N_CTX, N_COUNTED = 32, 15


@pytest.fixture(scope="module")
def chunks(small_path):
    with glmq.load(small_path, n_ctx=256, activations="f32") as model:
        return chunks_of(model.tokenize(TEXT)[:200], n_ctx=N_CTX)


@pytest.fixture(scope="module")
def base_path(small_path, chunks, tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "base.kld"
    with (
        glmq.load(small_path, n_ctx=256, activations="f32") as model,
        writing_logits(check_logits_target(path), chunks, model.n_vocab) as writer,
    ):
        perplexity(model, chunks, base=writer)
    return path


def rows_as_llama_cpp_reads_them(path):
    """The header's numbers and ln p, float64 (n_rows, n_vocab), from the description of the format alone."""
    content = path.read_bytes()
    magic, n_ctx, n_vocab, n_chunks = struct.unpack_from("<8sIii", content)
    assert magic == b"_logits_"
    stored = np.frombuffer(content, "<u2", offset=20 + 4 * n_ctx * n_chunks)
    stored = stored.reshape(-1, 2 * ((n_vocab + 1) // 2) + 4)
    scale, least = (np.frombuffer(stored[:, i : i + 2].tobytes(), "<f4")[:, None] for i in (0, 2))
    tokens = np.frombuffer(content, "<i4", n_ctx * n_chunks, 20).reshape(n_chunks, n_ctx)
    return tokens, scale.astype(float) * stored[:, 4 : 4 + n_vocab] + least


def log_p_of(model, chunks):
    """ln p of the counted predictions, float64 (n, n_vocab)."""
    rows = [model.logits(chunk.tolist())[N_CTX // 2 : -1].astype(np.float64) for chunk in chunks.tokens]
    logits = np.concatenate(rows)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def test_a_file_holds_the_text_and_the_logarithms_of_all_probabilities(small, chunks, base_path):
    tokens, rows = rows_as_llama_cpp_reads_them(base_path)
    assert (tokens == chunks.tokens).all()
    assert base_path.stat().st_size == logits_file_bytes(chunks, small.n_vocab)
    np.testing.assert_allclose(rows, log_p_of(small, chunks), atol=2e-3)


def test_a_file_reads_as_it_was_written(base_path, chunks):
    base = LogitsFile(base_path)
    _, rows = rows_as_llama_cpp_reads_them(base_path)
    np.testing.assert_allclose(base.log_probabilities(3, 40), rows[3:43], atol=1e-5)
    base.require_text(chunks.tokens.ravel())
    with pytest.raises(GlmqError, match="another text"):
        base.require_text(chunks.tokens.ravel() + 1)


def test_what_is_less_likely_by_more_than_e_16_has_the_same_least_probability(tmp_path):
    logits = np.zeros((N_COUNTED, 5), np.float32)
    logits[:, 1:] = -15, -16, -17, -90
    target = check_logits_target(tmp_path / "base.kld")
    with writing_logits(target, chunks_of([0] * 64, N_CTX), 5) as writer:
        writer.add(logits)
        writer.add(logits)
    row = LogitsFile(target.path).log_probabilities(0, 1)[0]
    np.testing.assert_allclose(row, [0, -15, -16, -16, -16], atol=1e-3)


def test_a_model_does_not_diverge_from_itself(small, base_path):
    found = divergence(small, LogitsFile(base_path))
    assert abs(found.kl.value) < 1e-5 and found.same_top.value > 0.98
    assert found.ratio.value == pytest.approx(1, abs=1e-4)


def test_the_figures_are_those_of_their_definitions(small, chunks, base_path, tmp_path):
    base = log_p_of(small, chunks)
    with glmq.load(write_glm4moe(tmp_path / "q4.gguf", "Q4_0"), n_ctx=256, activations="f32") as model:
        other = log_p_of(model, chunks)
        found = divergence(model, LogitsFile(base_path))
    n = len(base)
    following = np.concatenate([chunks.following(i) for i in range(len(chunks))])
    nll, base_nll = (-log_p[np.arange(n), following] for log_p in (other, base))
    kl = (np.exp(base) * (base - other)).sum(axis=1)
    change = np.exp(-nll) - np.exp(-base_nll)
    same = base.argmax(axis=1) == other.argmax(axis=1)
    close = {"rel": 2e-2}
    assert found.n_counted == n and kl.mean() > 0.001
    assert found.kl.value == pytest.approx(kl.mean(), **close)
    assert found.kl.error == pytest.approx(kl.std() / np.sqrt(n - 1), **close)
    assert found.kl_spread.percentiles[90.0] == pytest.approx(np.percentile(kl, 90), **close)
    assert found.same_top.value == pytest.approx(same.mean(), abs=0.03)
    assert found.rms_change.value == pytest.approx(np.sqrt((change**2).mean()), **close)
    assert found.log_ratio.value == pytest.approx((nll - base_nll).mean(), rel=0.1, abs=1e-3)
    assert found.log_ratio.error == pytest.approx((nll - base_nll).std() / np.sqrt(n - 1), **close)
    assert found.correlation == pytest.approx(np.corrcoef(nll, base_nll)[0, 1], abs=1e-2)


@pytest.mark.parametrize(
    ("damage", "told"),
    (
        (lambda content: content[:-2], "not whole"),
        (lambda content: content[:15], "no file of a base model's predictions"),
        (lambda content: b"GGUF" + content[4:], "no file of a base model's predictions"),
        (lambda content: content[:16] + struct.pack("<i", -3) + content[20:], "not whole"),
        (lambda content: content[:20] + struct.pack("<i", 9999) + content[24:], "damaged"),
    ),
)
def test_a_file_that_is_not_whole_is_refused_in_one_line(base_path, tmp_path, damage, told):
    path = tmp_path / "base.kld"
    path.write_bytes(damage(base_path.read_bytes()))
    with pytest.raises(GlmqError, match=told) as error:
        LogitsFile(path)
    assert "\n" not in str(error.value)


def test_a_base_of_another_vocabulary_is_refused(small, tmp_path):
    target = check_logits_target(tmp_path / "base.kld")
    with writing_logits(target, chunks_of([0] * 64, N_CTX), 5) as writer:
        writer.add(np.zeros((2 * N_COUNTED, 5), np.float32))
    with pytest.raises(GlmqError, match="a vocabulary of 5 tokens, and small.gguf has"):
        divergence(small, LogitsFile(target.path))
