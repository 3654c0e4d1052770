"""Models whose low-bit weights are turned into nibbles as they are loaded."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pytest
from glmq_kernels.disk_reads import disk_reader as reader_module

import glmq
from glmq import transcoded_tensors
from glmq.experts import disk as disk_module
from glmq.gguf import open_gguf
from glmq.kernels_ahead import kernels_of

from .disk_models import UnreliableDisk, plan_with_experts_on_disk
from .small_models import write_glm4moe

TOKENS = [1 + i * 7 % 300 for i in range(30)]
"""More than take the row form."""

CLOSE = 1e-3
"""Of distributions, in nats: sums in another order now and then round an activation to another int8."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A model in several files."""
    folder = tmp_path_factory.mktemp("models")
    write_glm4moe(folder / "low-bit.gguf", "IQ3_S", tensors_per_file=20)
    return min(folder.iterdir())


@pytest.fixture(scope="module")
def mapped(path):
    with glmq.load(path, n_ctx=128, n_threads=2) as model:
        yield model


@pytest.fixture(scope="module")
def transcoded(path):
    with glmq.load(path, n_ctx=128, n_threads=2, load="transcode") as model:
        yield model


def bytes_in_memory(file):
    """Of all tensors, those of IQ3_S as nibbles but for the embedding."""
    return sum(
        info.n_elements // 256 * 140 if info.type == "IQ3_S" and name != "token_embd.weight" else info.n_bytes
        for name, info in file.tensors.items()
    )


def divergences(expected, logits):
    """Kullback-Leibler divergences of distributions."""
    p, q = (np.exp(each - np.logaddexp.reduce(each, axis=-1, keepdims=True)) for each in (expected, logits))
    return (p * np.log(p / q)).sum(axis=-1)


def test_answers_are_those_of_the_file(mapped, transcoded):
    """Of a prompt in panels, and token by token."""
    expected = mapped.logits(TOKENS).astype(np.float64)
    assert divergences(expected, transcoded.logits(TOKENS).astype(np.float64)).mean() < CLOSE
    session = transcoded.session()
    session.evaluate(TOKENS[:20])
    one_by_one = [session.evaluate([token]).astype(np.float64) for token in TOKENS[20:]]
    assert divergences(expected[20:], np.array(one_by_one)).mean() < CLOSE


@pytest.mark.slow
def test_answers_of_exact_products_are_the_same_bits(path):
    with (
        glmq.load(path, n_ctx=128, activations="f32") as mapped,
        glmq.load(path, n_ctx=128, activations="f32", load="transcode") as transcoded,
    ):
        np.testing.assert_array_equal(transcoded.logits(TOKENS[:8]), mapped.logits(TOKENS[:8]))
        np.testing.assert_array_equal(transcoded.logits(TOKENS), mapped.logits(TOKENS))


def test_sessions_go_from_one_to_the_other(mapped, transcoded, tmp_path):
    session = mapped.session()
    session.evaluate(TOKENS)
    session.save(tmp_path / "a.session")
    assert transcoded.restore_session(tmp_path / "a.session").session.tokens == TOKENS


def test_an_embedding_of_which_few_rows_are_used_stays_in_the_file(transcoded):
    types = {product.type for product in transcoded.work.products}
    assert types == {"F32", "NIBBLES_IQ3_S"}
    assert "ops.embedding.kernel.rows:IQ3_S" in transcoded._program.tape.kernel_names()


def test_memory_is_counted_and_told(path, mapped, transcoded):
    more = bytes_in_memory(mapped.file) - mapped.file.n_bytes
    assert more > 200_000
    assert f"{more / 1e6:.0f} MB more than in the file" in transcoded.remarks[-1]
    plans = []
    for load in ("mmap", "transcode"):
        with glmq.load(path, n_ctx=128, ram=10**9, load=load) as model:
            plans.append(model._memory_plan)
    assert plans[0].kv_cache - plans[1].kv_cache == more


def test_kernels_compiled_ahead_are_those_that_it_needs(path, transcoded):
    with open_gguf(path) as file:
        needed = {*transcoded._program.tape.kernel_names(), "formats.transcoding_kernel.blocks:IQ3_S"}
        assert needed <= kernels_of(file)


def test_a_file_without_such_weights_is_loaded_and_that_is_told(small_path):
    with glmq.load(small_path, load="transcode") as model, glmq.load(small_path) as mapped:
        assert "nothing is transcoded: the file has no matrices of type IQ3_S" in model.remarks[-1]
        np.testing.assert_array_equal(model.logits([1, 2, 3]), mapped.logits([1, 2, 3]))


def test_how_far_it_is_is_told(path, monkeypatch):
    monkeypatch.setattr(transcoded_tensors, "PIECE", 1 << 14)
    monkeypatch.setattr(transcoded_tensors, "PIECES_AT_ONCE", 3)
    told = []
    with glmq.load(path, load="transcode", progress=lambda text, fraction: told.append((text, fraction))):
        fractions = [fraction for text, fraction in told if text.startswith("transcoding weights: ")]
    assert len(fractions) > 40
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_small_pieces_come_to_their_places(path, transcoded, monkeypatch):
    monkeypatch.setattr(transcoded_tensors, "PIECE", 1 << 14)
    with glmq.load(path, n_ctx=128, n_threads=2, load="transcode") as model:
        np.testing.assert_array_equal(model.logits(TOKENS), transcoded.logits(TOKENS))


def test_without_room_for_all_of_it_it_is_refused(path, monkeypatch):
    monkeypatch.setattr("glmq.loading.plan_memory", plan_with_experts_on_disk)
    with pytest.raises(glmq.GlmqError, match=r"needs .* to be read into memory, but there are 5 MB; .*mmap"):
        glmq.load(path, load="transcode", ram=5_000_000)


def test_nodes_of_memory_are_refused(path, monkeypatch):
    monkeypatch.setattr("glmq.loaded_model.nodes_to_share", lambda numa, n_threads: [None, None])
    with pytest.raises(glmq.GlmqError, match="transcoded are not shared out among nodes of memory; choose"):
        glmq.load(path, load="transcode", numa=True)


def test_a_disk_that_fails_is_told(path, monkeypatch):
    broken = UnreliableDisk(failures=10**6)
    monkeypatch.setattr(disk_module, "DiskReader", partial(reader_module.DiskReader, read=broken.address))
    with pytest.raises(glmq.GlmqError, match=r"low-bit.* cannot be read at byte .*check the disk"):
        glmq.load(path, load="transcode")


def test_a_file_that_changes_meanwhile_is_refused(tmp_path):
    path = write_glm4moe(tmp_path / "own.gguf", "IQ3_S")

    def changed(text, fraction):
        if text.startswith("transcoding"):
            os.utime(path, (1, 1))

    with pytest.raises(glmq.GlmqError, match="has changed"):
        glmq.load(path, load="transcode", progress=changed)
