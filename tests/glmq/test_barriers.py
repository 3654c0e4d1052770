"""How often threads wait for each other in a layer of experts."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.ops.batch_state import N_TOKENS

from glmq.gguf import open_gguf
from glmq.models.glm4_moe import build
from glmq.weights import Weights

from .small_models import write_glm4moe


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = write_glm4moe(tmp_path_factory.mktemp("models") / "model.gguf")
    with open_gguf(path) as file:
        yield build(file, Weights(file), 600, 16, "F16", "int8")


def barriers_of_layer(program, n_tokens, n_past):
    """Of the first layer of experts, which is not the last."""
    tape, state = program.tape, program.tape.state
    state[N_TOKENS] = n_tokens
    page_tables = np.full(n_tokens, 1, np.int64)
    program.planner.plan(state, np.arange(n_past, n_past + n_tokens), page_tables)
    return sum(tape.n_barriers(name) for name in tape.sections if f"{name}.".startswith("blk.1."))


def test_one_token(program):
    """qkv, rotation, attention, its output, router, gate and up, down; the rest every thread does itself."""
    assert barriers_of_layer(program, 1, 100) == 7


def test_one_token_whose_attention_several_threads_share(program):
    assert barriers_of_layer(program, 1, 100_000) == 8


def test_several_tokens(program):
    assert barriers_of_layer(program, 300, 0) == 13
