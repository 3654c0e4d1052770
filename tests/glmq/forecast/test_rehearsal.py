"""Steps are measured with random weights in the place of a file's."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

from glmq.engine import Engine
from glmq.forecast import rehearsal, stand_in
from glmq.forecast.random_weights import DEVIATION, random_weights
from glmq.forecast.rehearsal import seconds_of_layers, step_speed
from glmq.forecast.stand_in import StandInWeights
from glmq.gguf import open_gguf
from glmq.models import build_function
from glmq.session import Session

from ..small_models import write_deepseek2, write_glm4moe, write_llama

WRITERS = (write_glm4moe, write_deepseek2, write_llama)


@pytest.mark.parametrize("type_name", KERNEL_TYPES, ids=str.lower)  # their kernels are not wanted
def test_random_weights_lie_about_zero_and_have_the_deviation_of_ordinary_ones(type_name):
    n = 256 * 512
    data = random_weights(type_name, n, np.random.default_rng(0))
    weights = gguf.dequantize(data, gguf.GGMLQuantizationType[type_name])
    assert weights.size == n and np.isfinite(weights).all()
    assert abs(weights.mean()) < weights.std() / 2
    assert DEVIATION / 2 < weights.std() < 2 * DEVIATION
    larger = random_weights(type_name, n, np.random.default_rng(0), 8.0)
    larger_weights = gguf.dequantize(larger, gguf.GGMLQuantizationType[type_name])
    np.testing.assert_allclose(larger_weights, 8 * weights, atol=0.02)


@pytest.mark.parametrize("write", WRITERS)
def test_the_stand_in_of_a_model_gives_numbers_of_all_its_tokens(tmp_path, write):
    with open_gguf(write(tmp_path / "model.gguf", "Q8_0")) as file:
        weights = StandInWeights(file)
        program = build_function(file)(file, weights, 64, 1, "F16", "int8")
        engine = Engine(program, 1, file, program.cache_shape.n_bytes(64))
        logits = Session(engine, file, 64).evaluate(list(range(40)))
        engine.close(lambda: None)
    assert np.isfinite(logits).all() and logits.std() > 0


def test_its_routers_send_tokens_to_all_experts(tmp_path):
    with open_gguf(write_glm4moe(tmp_path / "model.gguf", "Q4_0")) as file:
        weights = StandInWeights(file)
        program = build_function(file)(file, weights, 64, 1, "F16", "int8")
        engine = Engine(program, 1, file, program.cache_shape.n_bytes(64))
        uses = []
        program.on_routing = lambda layer, places: uses.append(np.diff(layer.routing.offsets))
        Session(engine, file, 64).evaluate(np.arange(64).tolist())
        engine.close(lambda: None)
    assert len(uses) == len(program.expert_layers)
    assert min(map(min, uses)) > 0


def test_memory_comes_again_when_a_ring_is_full_and_blocks_stay_blocks():
    ring = stand_in._Ring("Q4_0", 3 * 64 * 18)
    pieces = [ring.take(60 * 18) for _ in range(4)]
    places = [piece.ctypes.data for piece in pieces]
    assert places[0] < places[1] < places[2] and places[3] == places[0]
    for piece in pieces:
        scales = piece.reshape(-1, 18)[:, :2]
        assert (scales == scales[0]).all()


def test_a_model_takes_no_more_memory_than_there_is_for_it(tmp_path, monkeypatch):
    with open_gguf(write_glm4moe(tmp_path / "model.gguf", "Q4_0")) as file:
        monkeypatch.setattr(stand_in, "RING_BYTES", file.n_bytes // 2)
        weights = StandInWeights(file)
        build_function(file)(file, weights, 8, 1, "F16", "int8")
        taken = sum(len(ring._memory) for ring in weights._rings.values())
        assert file.n_bytes // 3 < taken < 0.6 * file.n_bytes


def test_a_model_of_one_layer_is_measured_too(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "SECONDS", 0.0)
    with open_gguf(write_llama(tmp_path / "model.gguf", "Q8_0", n_layers=1)) as file:
        for n_prompt in (1, 20):
            speed = step_speed(file, 1, "F16", "int8", n_prompt)
            assert min(speed.one, speed.batch) > 0


def test_layers_take_as_long_as_others_of_their_kind_and_unmeasured_ones_by_their_work():
    layers = [("moe", 10.0), ("more bits", 20.0), ("moe", 10.0), ("rare", 5.0)]
    assert seconds_of_layers(layers, {"moe": 1.0, "more bits": 3.0, "rare": 0.5}) == 5.5
    assert seconds_of_layers(layers, {"moe": 1.0, "more bits": 5.0}) == 1 + 5 + 1 + 5 * 6 / 30
    assert seconds_of_layers([], {}) == 0.0
