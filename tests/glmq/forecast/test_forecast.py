"""What is said of a model before it is loaded is what loading it then does."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner
from glmq_kernels.errors import GlmqError

import glmq
from glmq.cli import main
from glmq.experts.offload import ExpertOffload
from glmq.forecast.forecast import forecast
from glmq.gguf import open_gguf

from ..gguf_files import gguf_bytes, key, string
from ..small_models import (
    N_EXPERTS,
    N_LAYERS,
    TOP_K,
    write_deepseek2,
    write_glm4moe,
    write_llama,
)
from .fixed_speeds import BATCH_TOKEN, DISK, POSITION, STEP

pytestmark = pytest.mark.usefixtures("fixed_speeds")
WRITERS = {"glm4moe": write_glm4moe, "deepseek2": write_deepseek2, "llama": write_llama}


def invoke(*arguments):
    """(exit code, standard output, standard error) of `glmq plan`, run in this process."""
    done = CliRunner().invoke(main, ["plan", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small model of each architecture."""
    folder = tmp_path_factory.mktemp("models")
    return {name: write(folder / f"{name}.gguf", "Q8_0") for name, write in WRITERS.items()}


@pytest.mark.parametrize("architecture", WRITERS)
@pytest.mark.parametrize("ram", [None, 10**9, 10**8])
def test_a_model_in_memory_has_the_plan_that_loading_makes(models, architecture, ram):
    path = models[architecture]
    found = forecast(path, ram=ram, n_ctx=256, cache_type="q8_0")
    with glmq.load(path, ram=ram, n_ctx=256, cache_type="q8_0") as model:
        loaded = model._memory_plan
        assert found.memory.program.tape.work == model.work
    plan = found.memory.plan
    assert (plan.in_memory, plan.batch, plan.work) == (True, loaded.batch, loaded.work)
    if ram:  # else it depends on what is free at the moment
        assert plan == loaded
    assert found.memory.placement is None
    assert found.next_steps == []


def test_transcoded_weights_take_what_loading_takes_for_them(tmp_path):
    path = write_glm4moe(tmp_path / "model.gguf", "IQ3_S")
    found, mapped = (forecast(path, ram=10**9, n_ctx=128, load=load).memory for load in ("transcode", "mmap"))
    with glmq.load(path, ram=10**9, n_ctx=128, load="transcode") as model:
        assert found.plan == model._memory_plan
        assert found.program.tape.work == model.work
    more = [each.dense + each.experts_kept for each in (found, mapped)]
    assert more[0] - more[1] == mapped.plan.kv_cache - found.plan.kv_cache > 0
    refused = forecast(path, ram=mapped.needs.total + 100_000, n_ctx=128, load="transcode").memory
    assert "to be read into memory" in str(refused.refusal)


@pytest.mark.parametrize("n_kept", [0, 5, 14])
def test_experts_kept_are_those_that_loading_keeps(disk_budget, models, n_kept):
    path = models["glm4moe"]
    needs = forecast(path, n_ctx=128).memory.needs
    budget = disk_budget(path, needs, TOP_K, n_kept)
    found = forecast(path, n_ctx=128, ram=budget)
    with glmq.load(path, n_ctx=128, ram=budget) as model:
        assert found.memory.plan == model._memory_plan
        assert found.memory.placement == model.experts.placement
        assert abs(model.experts.disk.loaded_bytes - found.memory.dense) < 100_000
    assert found.memory.n_kept == n_kept
    assert found.memory.n_experts == (N_LAYERS - 1) * N_EXPERTS


def test_an_answer_reads_from_disk_what_was_said(disk_budget, models, monkeypatch):
    path = models["glm4moe"]
    monkeypatch.setattr(ExpertOffload, "_prefetch", lambda *arguments: None)
    needs = forecast(path, n_ctx=128).memory.needs
    budget = disk_budget(path, needs, TOP_K, 0)
    found = forecast(path, n_ctx=128, ram=budget)
    with glmq.load(path, n_ctx=128, ram=budget) as model:
        session = model.session()
        for token in range(8):
            session.evaluate([token])
        assert model.experts.statistics.bytes_per_token == found.disk_bytes.likely


def test_an_answers_time_is_that_of_a_step_of_its_experts_and_of_the_positions_behind_it(disk_budget, models):
    path = models["glm4moe"]
    everything = forecast(path, n_ctx=128, ram=10**9)
    assert everything.time.answer.likely == pytest.approx(1 / STEP)
    budget = disk_budget(path, everything.memory.needs, TOP_K, 0)
    found = forecast(path, n_ctx=128, ram=budget)
    reading = found.disk_bytes.likely / DISK
    assert found.time.answer.likely == pytest.approx(1 / (max(STEP, reading) + 0.6 * min(STEP, reading)))
    later = 1 / forecast(models["llama"], n_ctx=512).time.late_answer.likely
    layers = forecast(models["llama"]).memory.program.cache_shape.n_layers
    assert later - STEP == pytest.approx(511 * POSITION * layers)


def test_a_prompts_time_is_that_of_its_batches_and_what_they_look_back_at(models):
    path = models["llama"]
    found = forecast(path, n_ctx=512, n_prompt=256)
    assert found.time.prompt.likely == pytest.approx(1 / BATCH_TOKEN)
    layers = found.memory.program.cache_shape.n_layers
    later = layers * POSITION / 2 * 256  # of each token, which looks back at so many more
    assert found.time.late_prompt.likely == pytest.approx(1 / (BATCH_TOKEN + later))


def test_less_memory_takes_longer(disk_budget, models):
    path = models["glm4moe"]
    needs = forecast(path, n_ctx=128).memory.needs
    kept = [
        forecast(path, n_ctx=128, ram=disk_budget(path, needs, TOP_K, n)).time.answer.likely
        for n in (0, 8, 16)
    ]
    assert kept == sorted(kept) and kept[0] < kept[-1]


def test_every_range_contains_what_is_likely(disk_budget, models):
    path = models["glm4moe"]
    needs = forecast(path, n_ctx=128).memory.needs
    for n_kept in (0, 7, 16):
        found = forecast(path, n_ctx=128, ram=disk_budget(path, needs, TOP_K, n_kept))
        time = found.time
        for each in (time.prompt, time.answer, time.late_prompt, time.late_answer):
            assert 0 < each.low < each.likely < each.high
        assert found.hits.low <= found.hits.likely <= found.hits.high <= 1
        assert found.disk_bytes.low <= found.disk_bytes.likely <= found.disk_bytes.high


def test_what_does_not_fit_is_told_with_what_would_help(models):
    code, out, err = invoke(models["glm4moe"], "--ram", "1M", "--ctx", 512)
    assert (code, err) == (3, "")
    lines = out.splitlines()
    assert lines[1].startswith("It does not run here: ") and "give it 0.1G or more" in lines[1]
    assert "What would help:" in lines
    assert any("lets it run (--ram " in line for line in lines)


def test_more_memory_than_is_free_is_told_last_and_as_no_option(models, monkeypatch):
    path = models["llama"]
    monkeypatch.setattr("glmq.forecast.next_steps.available_memory", lambda: 10**6)
    found = forecast(path, n_ctx=512, ram=10**6)
    assert not found.runs
    last = found.next_steps[-1]
    assert last.setting is None and last.text.endswith(
        "of memory, of which 1 MB are free here: it lets it run"
    )
    monkeypatch.setattr("glmq.forecast.next_steps.available_memory", lambda: 10**12)
    first = forecast(path, n_ctx=512, ram=10**6).next_steps[0]
    assert first.setting == "ram" and first.text.endswith("of memory lets it run")


def test_where_no_other_file_is_known_the_size_of_one_that_fits_is_told(disk_budget, models):
    path = models["glm4moe"]
    needs = forecast(path, n_ctx=128).memory.needs
    found = forecast(path, n_ctx=128, ram=disk_budget(path, needs, TOP_K, 8))
    [step] = [step.text for step in found.next_steps if "a quantization of at most" in step.text]
    size, bits = re.match(r".* at most (\d+) MB \((\d+\.\d) bits a weight\)", step).groups()
    assert int(size) * 8e6 / found.n_parameters == pytest.approx(float(bits), rel=0.1)


def test_a_smaller_cache_or_context_is_offered_where_it_lets_the_model_run(models):
    path = models["llama"]
    needs = forecast(path, n_ctx=512).memory.needs
    found = forecast(path, n_ctx=512, ram=needs.total - needs.kv_cache // 3)
    assert not found.runs
    assert {(step.setting, step.value) for step in found.next_steps} >= {("cache_type", "q8_0")}


def test_speeds_that_cannot_be_measured_are_left_out(models, fixed_speeds, monkeypatch):
    def broken(*arguments, **named):
        raise GlmqError("kernels cannot be compiled here")

    monkeypatch.setattr(fixed_speeds, "step", broken)
    found = forecast(models["glm4moe"])
    assert (found.runs, found.time, found.why_no_time) == (True, None, "kernels cannot be compiled here")
    code, out, _ = invoke(models["glm4moe"])
    assert code == 0
    assert "Speeds are not known: kernels cannot be compiled here" in out


def test_the_report_is_read_by_programs_too(models):
    code, out, _ = invoke(models["glm4moe"], "--json", "--ctx", 128, "--ram", "4G")
    report = json.loads(out)
    assert (code, report["runs"], report["n_ctx"], report["cache_type"]) == (0, True, 128, "f16")
    memory = report["memory"]
    parts = ("dense_weights", "experts", "kv_cache", "work", "process")
    assert sum(memory[part] for part in parts) == memory["total"] <= memory["budget"]
    with open_gguf(models["glm4moe"]) as file:
        assert memory["dense_weights"] + memory["experts"] == file.n_bytes
    speed = report["tokens_per_second"]["answer"]
    assert speed["low"] < speed["likely"] < speed["high"]


def test_the_report_is_read_by_people():
    code, out, err = invoke("demo-tools", "--ram", "1G")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "demo-tools: 0.02 billion parameters, 13 MB"
    assert lines[1] == "It runs here, all of it in memory."
    assert "Memory, of 1.00 GB:" in lines
    assert any(line.split()[:3] == ["KV", "cache", "3"] for line in lines)
    assert any(line.startswith("  answer ") for line in lines)


def test_where_all_is_in_memory_the_program_may_go_beyond_the_limit_which_is_told(models):
    needs = forecast(models["llama"], n_ctx=128).memory.needs
    code, out, _ = invoke(models["llama"], "--ctx", 128, "--ram", needs.total + 1_000_000)
    assert code == 0
    [line] = [line for line in out.splitlines() if line.startswith("  the program ")]
    assert re.search(r" beside these \d+ MB$", line)


def test_what_no_machine_runs_is_refused_in_one_line(tmp_path, models):
    no_gguf, foreign = tmp_path / "no.gguf", tmp_path / "foreign.gguf"
    no_gguf.write_bytes(b"no model")
    foreign.write_bytes(gguf_bytes([key("general.architecture", 8, string("gpt2"))]))
    for arguments, told in (
        ([no_gguf], f"{no_gguf}: not a GGUF file"),
        ([foreign], "has architecture 'gpt2', which glmq does not run"),
        ([models["glm4moe"], "--ctx", 1024], "was trained for 512 tokens of context; choose at most that"),
        ([models["glm4moe"], "--ram", "much"], "'much' is not an amount of memory"),
        ([tmp_path / "none.gguf"], "no such file"),
    ):
        code, out, err = invoke(*arguments)
        assert (code, out) == (2, "")
        [line] = err.splitlines()
        assert line.startswith("glmq: error: ") and told in line
