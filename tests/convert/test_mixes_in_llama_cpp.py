"""Files of several mixes open in llama.cpp, whole and split, and give there the logits that they give here.

Needs xllamacpp, which the extra `bench` has, and the trained small model beside the project.
"""

from __future__ import annotations

import numpy as np
import pytest
from glmq_convert.conversion import convert, quantize
from glmq_convert.mixes import TypeChoice
from glmq_convert.splits import SplitSizes

import glmq
from glmq.gguf import open_gguf
from tests.glmq.test_command_line import ROOT

pytest.importorskip("xllamacpp")

from tests.golden.make_llama_cpp_golden import logits_of

CHECKPOINT = ROOT.parent / "shared" / "models" / "tiny-glm-moe"
PROMPT = "import os\n\ndef read_file(path):\n    with open(path"
CHOICES = {
    "Q8_0": TypeChoice("Q8_0"),
    "Q4_K_M": TypeChoice("Q4_K_M"),
    "IQ3_S": TypeChoice("IQ3_S"),
    "MOE_Q2_K": TypeChoice("MOE_Q2_K"),
    "own types": TypeChoice("Q4_0", overrides=(("ffn_down", "Q5_1"),), output="Q8_0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("split", [None, SplitSizes(max_tensors=40)], ids=["one file", "several"])
@pytest.mark.parametrize("name", CHOICES)
def test_logits(name, split, tmp_path):
    if not CHECKPOINT.exists():
        pytest.skip(f"needs {CHECKPOINT}")
    path = convert(CHECKPOINT, tmp_path / "model.gguf", CHOICES[name], split=split)
    with glmq.load(path, activations="f32") as model:
        tokens = model.tokenizer.encode(PROMPT)
        ours = model.logits(tokens)
    theirs = logits_of(path, tokens)
    assert (ours.argmax(-1) == theirs.argmax(-1)).mean() > 0.9
    assert np.abs(ours - theirs).mean() < 0.02 * np.ptp(theirs)


@pytest.mark.slow
def test_a_file_of_a_file_is_that_of_the_checkpoint(tmp_path):
    if not CHECKPOINT.exists():
        pytest.skip(f"needs {CHECKPOINT}")
    direct = convert(CHECKPOINT, tmp_path / "direct.gguf", "Q4_K_M")
    with open_gguf(convert(CHECKPOINT, tmp_path / "bf16.gguf", "BF16")) as whole:
        again = quantize(whole, tmp_path / "again.gguf", "Q4_K_M")
    with open_gguf(direct) as one, open_gguf(again) as other:
        assert one.metadata.keys() == other.metadata.keys()
        for tensor, info in one.tensors.items():
            assert other.tensors[tensor].type == info.type
            assert one.data(tensor).tobytes() == other.data(tensor).tobytes(), tensor
