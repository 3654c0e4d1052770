"""Models larger than memory give the same answers, whatever the disk does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from glmq_kernels.disk_reads.disk_reader import DiskReader
from glmq_kernels.ops.operands import Routing

import glmq
from bench.control_group import memory_limit
from bench.synthetic import write_air
from glmq.experts import disk as disk_module
from glmq.experts import placement
from glmq.experts.disk import Disk
from glmq.experts.fetching import TRIES
from glmq.experts.offload import PrefetchScore, likeliest_first
from glmq.experts.profile import load_profile
from glmq.experts.trace import NOT_CHOSEN
from glmq.gguf.tensors import TensorInfo
from glmq.model_file import model_file

from .disk_models import UnreliableDisk, expert_sizes, load_from_disk, plan_with_experts_on_disk
from .small_models import N_LAYERS, N_VOCAB, TOP_K, write_glm4moe

GREEDY = glmq.Sampling(temperature=0)
PROMPT = np.random.default_rng(5).integers(0, N_VOCAB, 40).tolist()
LAYERS = N_LAYERS - 1


@pytest.fixture(autouse=True)
def own_profiles(monkeypatch, tmp_path):
    """Profiles of earlier tests must not decide what is in memory."""
    monkeypatch.setattr("glmq.experts.profile.cache_folder", lambda: tmp_path / "profiles")


def answer(model, n=24):
    """Token ids after PROMPT."""
    generation = model.generate(PROMPT, sampling=GREEDY, max_tokens=n)
    generation.run()
    return generation.tokens


@pytest.mark.parametrize("type_name", ["Q8_0", "Q4_K", "F16"])
@pytest.mark.parametrize("n_slots", [0, 2, 2 * TOP_K, 11])
def test_results_are_those_of_the_mapped_model_to_the_last_bit(monkeypatch, tmp_path, type_name, n_slots):
    path = write_glm4moe(tmp_path / "model.gguf", type_name)
    with glmq.load(path, n_ctx=128) as mapped:
        logits, tokens = mapped.logits(PROMPT), answer(mapped)
    with load_from_disk(monkeypatch, path, n_slots, n_ctx=128) as model:
        np.testing.assert_array_equal(model.logits(PROMPT), logits)
        assert answer(model) == tokens
        assert model.experts.statistics.misses > 0
        if n_slots:
            assert model.experts.statistics.hits > 0


def test_batches_of_any_size_give_the_same(monkeypatch, small_path):
    with glmq.load(small_path, n_ctx=128) as mapped:
        expected = [mapped.logits(PROMPT[:n])[-1] for n in (1, 2, 3, 5, 17, 40)]
    with load_from_disk(monkeypatch, small_path, 5, n_ctx=128) as model:
        found = [model.logits(PROMPT[:n])[-1] for n in (1, 2, 3, 5, 17, 40)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(3))
def test_slow_reads_that_fail_once_change_nothing(monkeypatch, small_path, seed):
    with glmq.load(small_path, n_ctx=128) as mapped:
        tokens = answer(mapped)
    unreliable = UnreliableDisk(failures=1, seconds=0.002, seed=seed)
    monkeypatch.setattr(disk_module, "DiskReader", partial(DiskReader, read=unreliable.address))
    with load_from_disk(monkeypatch, small_path, 5, n_ctx=128) as model:
        assert answer(model) == tokens
    assert max(unreliable.reads.values()) > 1


def test_a_disk_that_keeps_failing_ends_the_answer_but_not_the_model(monkeypatch, small_path):
    unreliable = UnreliableDisk(failures=0)
    monkeypatch.setattr(disk_module, "DiskReader", partial(DiskReader, read=unreliable.address))
    # What the first answer has left in the cache changes the forms in which the other one's prompt is read.
    with load_from_disk(monkeypatch, small_path, 2, n_ctx=128, deterministic=True) as model:
        tokens = answer(model)
        unreliable.failures = 10**9
        session = model.session()
        with pytest.raises(
            glmq.GlmqError, match=r"small\.gguf cannot be read at byte \d+: Input/output error"
        ):
            session.evaluate(PROMPT)
        assert session.tokens == []
        unreliable.failures = 0
        assert answer(model) == tokens


def test_dense_weights_that_cannot_be_read_are_told(monkeypatch, small_path):
    broken = UnreliableDisk(failures=10**9)
    monkeypatch.setattr(disk_module, "DiskReader", partial(DiskReader, read=broken.address))
    with pytest.raises(glmq.GlmqError, match=r"small\.gguf cannot be read at byte \d+: Input/output error"):
        load_from_disk(monkeypatch, small_path, 2, n_ctx=128)
    assert set(broken.reads.values()) == {TRIES}


def test_a_model_can_be_closed_twice(monkeypatch, small_path):
    with load_from_disk(monkeypatch, small_path, 2, n_ctx=128) as model:
        model.close()


def test_a_file_that_changes_is_noticed(monkeypatch, small_path, tmp_path):
    path = tmp_path / "changing.gguf"
    path.write_bytes(small_path.read_bytes())
    with load_from_disk(monkeypatch, path, 2, n_ctx=128) as model:
        answer(model)
        os.truncate(path, path.stat().st_size - 5000)
        with pytest.raises(glmq.GlmqError, match=r"changing\.gguf has changed .* load it again"):
            answer(model)


def test_a_budget_that_is_too_small_says_what_would_do(small_path):
    with pytest.raises(glmq.GlmqError, match=r"give it [\d.]+G or more"):
        glmq.load(small_path, n_ctx=128, ram=2_000_000)
    with pytest.raises(glmq.GlmqError, match="'much' is not an amount of memory"):
        glmq.load(small_path, ram="much")


def test_what_was_used_is_read_again_at_the_next_start(monkeypatch, small_path):
    with load_from_disk(monkeypatch, small_path, 8, n_ctx=128) as model:
        answer(model)
        assert model.experts.statistics.bytes_read > 0
    with load_from_disk(monkeypatch, small_path, 8, n_ctx=128) as model:
        while model.experts.n_arriving:
            time.sleep(0.01)
        model.session().evaluate([PROMPT[0]])
        assert model.experts.statistics.hits > 0


def test_sessions_at_the_same_time_both_leave_what_they_used(monkeypatch, small_path):
    with load_from_disk(monkeypatch, small_path, 2, n_ctx=128) as one:
        path = one.experts._profile
        with load_from_disk(monkeypatch, small_path, 2, n_ctx=128) as other:
            other.session().evaluate(PROMPT)
            uses = other._program.offload.uses.copy()
        one.session().evaluate(PROMPT[:1])
        uses = 0.5 * uses + one._program.offload.uses
    np.testing.assert_array_equal(load_profile(path, *uses.shape), uses)


def test_weights_count_where_the_system_does_not_tell_what_is_taken(monkeypatch, small_path):
    with load_from_disk(monkeypatch, small_path, 12, n_ctx=128) as model:
        placed, dense = model.experts.placement, model.experts.disk.loaded_bytes
    monkeypatch.setattr(placement, "resident_memory", lambda: None)
    monkeypatch.setattr(placement, "INTERPRETER", 0)
    assert dense > 2 * placed.slot_bytes
    monkeypatch.setattr("glmq.loading.plan_memory", plan_with_experts_on_disk)
    with glmq.load(small_path, n_ctx=128, ram=placed.budget) as model:
        assert model.experts.placement.n_slots == 12 - -(-dense // placed.slot_bytes)


def test_the_likeliest_experts_are_prefetched_first():
    routing = Routing(max_tokens=1, n_experts=8, top_k=4)
    routing.chosen[0], routing.weights[0] = (1, 3, 4, 6), (0.1, 0.4, 0.2, 0.3)
    assert likeliest_first(routing) == [3, 6, 4, 1]


def test_prefetching_pauses_where_it_is_mostly_wrong():
    score = PrefetchScore()
    for _ in range(30):
        score.count(wanted=False)
        score.count(wanted=True)
    assert score.worth_it(), "half of them right is enough"
    n_wrong = 0
    while score.worth_it():
        score.count(wanted=False)
        n_wrong += 1
    assert n_wrong < 100
    assert sum(not score.worth_it() for _ in range(2 * score.PAUSE)) < score.PAUSE
    assert score.worth_it()


def test_statistics_tell_where_experts_were_found(monkeypatch, small_path):
    n_experts, slot = expert_sizes(small_path)
    with load_from_disk(monkeypatch, small_path, 8, n_ctx=128) as model:
        before = model.experts.statistics.copy()
        session = model.session()
        for token in PROMPT:
            session.evaluate([token])
        found = model.experts.statistics.since(before)
    assert found.tokens == len(PROMPT)
    assert found.hits + found.misses == len(PROMPT) * LAYERS * TOP_K
    assert 0 < found.bytes_read <= slot * (found.misses + found.prefetched)
    assert 0 <= found.wait_share <= 1
    assert f"{found.hit_rate:.0%}" in found.line()
    assert n_experts == 16


def test_a_prompt_reads_each_expert_that_it_needs_once(monkeypatch, small_path):
    counted = UnreliableDisk(failures=0)
    monkeypatch.setattr(disk_module, "DiskReader", partial(DiskReader, read=counted.address))
    with load_from_disk(monkeypatch, small_path, 3, n_ctx=128) as model:
        counted.reads.clear()
        model.session().evaluate(PROMPT)
        assert model.experts.statistics.misses > 8
    assert set(counted.reads.values()) == {1}


def test_routing_is_recorded_in_either_mode(monkeypatch, small_path, tmp_path):
    with glmq.load(small_path, n_ctx=128) as mapped:
        trace = mapped.record_routing()
        mapped.logits(PROMPT)
        mapped.logits(PROMPT[:1])
        trace.save(tmp_path / "mapped.npy")
    with load_from_disk(monkeypatch, small_path, 2, n_ctx=128) as model:
        other = model.record_routing()
        model.logits(PROMPT)
        model.logits(PROMPT[:1])
    recorded = np.load(tmp_path / "mapped.npy")
    assert recorded.shape == (len(PROMPT) + 1, LAYERS, TOP_K)
    assert recorded.dtype == np.int16
    np.testing.assert_array_equal(recorded, other.array())


def test_the_last_layer_chooses_experts_for_tokens_whose_outputs_are_wanted(small):
    trace = small.record_routing()
    small.session().evaluate(PROMPT)
    recorded = trace.array()
    assert recorded.shape == (len(PROMPT), LAYERS, TOP_K)
    assert (recorded[:-1, -1] == NOT_CHOSEN).all()
    assert (recorded[:, :-1] != NOT_CHOSEN).all() and (recorded[-1] != NOT_CHOSEN).all()


@pytest.mark.parametrize(
    ("n", "unreliable"),
    [
        pytest.param(150, False, id="few"),
        pytest.param(500, False, id="plain", marks=pytest.mark.slow),
        pytest.param(500, True, id="slow and failing", marks=pytest.mark.slow),
    ],
)
def test_answers_of_the_demo_model_with_a_third_of_its_experts(monkeypatch, n, unreliable):
    path = model_file("demo")
    prompt = "Once upon a time, in a village between two rivers,"
    answers = []
    with glmq.load(path, n_ctx=640) as mapped:
        generation = mapped.generate(prompt, sampling=GREEDY, max_tokens=n)
        generation.run()
        answers.append(generation.tokens)
    if unreliable:
        flaky = UnreliableDisk(failures=0, seconds=0.0005)
        monkeypatch.setattr(disk_module, "DiskReader", partial(DiskReader, read=flaky.address))
    with load_from_disk(monkeypatch, path, expert_sizes(path)[0] // 3, n_ctx=640) as model:
        if unreliable:
            flaky.failures = 1
        generation = model.generate(prompt, sampling=GREEDY, max_tokens=n)
        generation.run()
        answers.append(generation.tokens)
        assert model.experts.statistics.misses > 2 * n
    assert len(answers[0]) == n
    assert answers[0] == answers[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how a file is mapped")
def test_rows_of_the_embedding_come_without_those_around_them(tmp_path):
    path = tmp_path / "matrix"
    path.write_bytes(bytes(range(256)) * 1000)
    disk = Disk([path])
    rows = disk.map_rows(TensorInfo("token_embd.weight", "Q8_0", (900, 256), 25_600, 230_400, 0))
    disk.close()
    assert bytes(rows) == bytes(range(256)) * 900
    mapped = Path("/proc/self/smaps").read_text().split(f"{path}\n")[1]
    flags = next(line for line in mapped.splitlines() if line.startswith("VmFlags"))
    assert " rr" in flags, "mapped for random access"


LIMITED = """
import json, os, sys
import glmq
from glmq.system_memory import peak_memory

path, budget, group = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if group:
    open(os.path.join(group, "cgroup.procs"), "w").write(str(os.getpid()))
model = glmq.load(path, n_ctx=512, ram=budget)
assert model.experts is not None
session = model.session()
session.evaluate(list(range(300)))
for token in range(20):
    session.evaluate([token])
print(json.dumps({"peak": peak_memory()}))
"""


@contextmanager
def control_group(n_bytes):
    """Where to join a group of so much memory, or nothing where one may not be made."""
    with ExitStack() as stack:
        try:
            folder = str(stack.enter_context(memory_limit(n_bytes)))
        except OSError as error:
            warnings.warn(f"without a control group ({error}) only the peak is looked at", stacklevel=1)
            folder = ""
        yield folder


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a process's own peak")
def test_the_process_stays_within_its_budget(tmp_path):
    """A model of 2.5 GB in 1.2 GB, the interpreter, the KV cache and all else included."""
    path = write_air(tmp_path / "air.gguf", "Q4_0", n_layers=3, vocab_size=2048)
    budget = 1_200_000_000
    assert path.stat().st_size > 2 * budget
    with control_group(int(1.05 * budget)) as group:
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(path), str(budget), group],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
        )  # fmt: skip
    path.unlink()  # pytest would keep it for three runs
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["peak"] <= 1.05 * budget
