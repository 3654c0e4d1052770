"""Weights and threads shared out among nodes of memory, on made-up machines."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from glmq_kernels.disk_reads.disk_reader import ALIGNMENT
from glmq_kernels.machine.numa import MemoryNode, memory_nodes
from glmq_kernels.threads import work_units
from glmq_kernels.threads.thread_pool import ThreadPool

import glmq
from glmq.gguf import open_gguf
from glmq.loading import NO_NODES
from glmq.models import prediction_layer
from glmq.node_shares import node_pieces, share_of_rows

from .small_models import add_prediction, write_glm4moe


def machine(root, processors_of_nodes, has_memory):
    """A folder in which Linux would tell of these nodes."""
    folder = root / "sys/devices/system/node"
    folder.mkdir(parents=True)
    (folder / "has_memory").write_text(f"{has_memory}\n")
    for number, processors in processors_of_nodes.items():
        (folder / f"node{number}").mkdir()
        (folder / f"node{number}/cpulist").write_text(f"{processors}\n")
    return root


def test_nodes_are_those_with_memory_and_processors(tmp_path):
    """Node 2 is memory by itself, such as a card, and node 3 has none."""
    root = machine(tmp_path, {0: "0-3,8-11", 1: "4-7,12-15", 2: "", 3: "16"}, "0-2")
    assert memory_nodes(range(64), root) == [
        MemoryNode(0, frozenset({0, 1, 2, 3, 8, 9, 10, 11})),
        MemoryNode(1, frozenset({4, 5, 6, 7, 12, 13, 14, 15})),
    ]


def test_only_processors_that_the_process_may_use_count(tmp_path):
    root = machine(tmp_path, {0: "0-3", 1: "4-7"}, "0-1")
    assert memory_nodes({2, 3}, root) == [MemoryNode(0, frozenset({2, 3}))]


def test_a_system_that_tells_nothing_has_no_nodes(tmp_path):
    assert memory_nodes(range(4), tmp_path) == []


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_glm4moe(tmp_path_factory.mktemp("models") / "model.gguf")


@pytest.mark.parametrize("n_nodes", (1, 2, 3))
def test_pieces_are_all_of_the_file_and_each_row_is_where_its_threads_are(path, n_nodes):
    with open_gguf(path) as file:
        pieces = node_pieces(file, 0, n_nodes)
        assert (pieces[0].first, pieces[-1].end) == (0, file.sizes[0])
        assert [piece.end for piece in pieces[:-1]] == [piece.first for piece in pieces[1:]]
        assert all(piece.first % ALIGNMENT == 0 for piece in pieces)
        info = file.tensor("blk.1.ffn_up_exps.weight")
    node_of_page = np.concatenate(
        [np.full(-(-(each.end - each.first) // ALIGNMENT), each.node) for each in pieces]
    )
    n_experts, rows, _ = info.shape
    row_bytes = info.n_bytes // (n_experts * rows)
    for expert in range(n_experts):
        for node in range(n_nodes):
            first, last = (
                info.offset + (expert * rows + row) * row_bytes for row in share_of_rows(rows, node, n_nodes)
            )
            whole_pages = range(-(-first // ALIGNMENT), last // ALIGNMENT - 1)
            assert all(node_of_page[page] == node for page in whole_pages)


@pytest.mark.parametrize("n_rows", (32, 96, 1000, 4096))
@pytest.mark.parametrize("n_nodes", (1, 2, 3, 8))
def test_threads_take_the_rows_that_are_near_them(monkeypatch, n_rows, n_nodes):
    monkeypatch.setattr(work_units, "argument", lambda args, slot: n_nodes)
    units = -(-n_rows // 32)
    for node in range(n_nodes):
        begin, end = (work_units.share_begin.py_func(0, each, units) for each in (node, node + 1))
        assert share_of_rows(n_rows, node, n_nodes) == (min(32 * begin, n_rows), min(32 * end, n_rows))


def test_threads_stay_near_their_nodes(monkeypatch):
    stayed = {}
    monkeypatch.setattr(
        "glmq_kernels.threads.thread_pool.stay_on",
        lambda processors: stayed.setdefault(threading.current_thread().name, processors),
    )
    nodes = [MemoryNode(0, frozenset({0, 1})), MemoryNode(1, frozenset({2, 3}))]
    thread_pool = ThreadPool(4, nodes=nodes)
    thread_pool.run(np.zeros((0, 3), np.int64))
    thread_pool.close()
    near = [stayed[name] for name in (threading.current_thread().name, "glmq-1", "glmq-2", "glmq-3")]
    assert near == [{0, 1}, {0, 1}, {2, 3}, {2, 3}]


@pytest.fixture
def two_nodes(monkeypatch, tmp_path):
    """This machine as if its memory were in two nodes."""
    first, *others = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (0,)
    root = machine(tmp_path / "root", {0: str(first), 1: str(others[0] if others else first)}, "0-1")
    monkeypatch.setattr("glmq.loading.memory_nodes", lambda: memory_nodes({first, *others}, root))
    monkeypatch.setattr("glmq_kernels.threads.thread_pool.stay_on", lambda processors: None)


@pytest.mark.parametrize("n_threads", (2, 5))
def test_a_model_shared_out_gives_the_same_answers(path, two_nodes, n_threads):
    with glmq.load(path, n_threads=n_threads) as mapped:
        prompt, answer = mapped.logits(list(range(40))), mapped.session().evaluate([7]).copy()
    told = []
    with glmq.load(path, n_threads=n_threads, numa=True, progress=lambda *each: told.append(each)) as model:
        assert [node.number for node in model.nodes] == [0, 1]
        assert model.file.in_memory
        np.testing.assert_array_equal(model.logits(list(range(40))), prompt)
        np.testing.assert_array_equal(model.session().evaluate([7]), answer)
        assert model.remarks == ()
    fractions = [fraction for text, fraction in told if text.startswith("reading the model: ")]
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_guesses_by_a_head_of_likely_tokens_are_the_same(two_nodes, monkeypatch, tmp_path):
    """Its rows lie in the memory of one node, the layer's in both."""
    monkeypatch.setattr(prediction_layer, "draft_rows", lambda *sizes: 64)
    path = write_glm4moe(tmp_path / "model.gguf", change=add_prediction)
    text = np.random.default_rng(5).integers(0, 256, 30).tolist()
    guessed = []
    for numa in (False, True):
        with glmq.load(path, n_threads=2, numa=numa, draft="mtp") as model:
            assert len(model.nodes) == 2 * numa
            head = model._engine._prediction._head
            head._saved = 1.0  # a random text would not be worth it
            session = model.session()
            session.evaluate(text[:12])
            guessed.append([])
            for token in text[12:]:
                guessed[-1] += session.draft([token], 3)
                session.evaluate([token])
            assert head.pays
    assert guessed[0] == guessed[1]
    assert len(guessed[0]) == 3 * 18


def test_one_thread_has_one_node(path, two_nodes):
    with glmq.load(path, n_threads=1, numa=True) as model:
        assert model.nodes == []


def test_where_there_is_one_node_this_is_told(path, monkeypatch):
    monkeypatch.setattr("glmq.loading.memory_nodes", lambda: [MemoryNode(0, frozenset({0}))])
    with glmq.load(path, numa=True) as model:
        assert model.remarks == (NO_NODES,)
        assert not model.file.in_memory
