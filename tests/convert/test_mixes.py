"""Names of mixes give each tensor the type that llama-quantize gives it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from glmq_convert.mixes import TypeChoice, choose_types, with_importance
from glmq_convert.mixes.mix_names import CLASSIC, PRESETS
from glmq_convert.mixes.tensor_kinds import kind_of, stays_f32
from glmq_kernels.errors import GlmqError

from tests.glmq.test_command_line import ROOT

from .model_shapes import AIR, AIR_WITH_MTP, FLASH, GLM_46, Sizes, tensors_of

MODELS = {
    "GLM-4.5-Air, trunk only": AIR,
    "GLM-4.5-Air with its MTP block": AIR_WITH_MTP,
    "GLM-4.6": GLM_46,
    "GLM-4.7-Flash": FLASH,
}
EXCERPT = ROOT / "tests" / "golden" / "mixes.txt"
TABLE = ROOT.parent / "shared" / "spec" / "quant-mix-table.txt"


def lines_of(path):
    """(name, sizes of the model, whether with an importance matrix, what is said) of each line of a table."""
    has_importance, sizes = True, AIR
    for line in path.read_text().splitlines():
        if line.startswith("==="):
            has_importance = "without" not in line
        elif line.startswith("##"):
            [sizes] = [found for model, found in MODELS.items() if line[3:].startswith(model)]
        elif found := re.match(r"(\w+) +([\d.]+) GB ([\d.]+) bpw \| (.*)", line):
            yield found[1], sizes, has_importance, found


def types_by_kind(text):
    """{kind: {type: how many, None for all}} of `Q6_K: output ; Q4_Kx2+Q5_Kx1: attn_v`."""
    kinds = {}
    for part in text.split(" ; "):
        types, names = part.split(": ")
        counts = dict(re.fullmatch(r"(\w+?)(?:x(\d+))?", each).groups() for each in types.split("+"))
        kinds |= dict.fromkeys(names.split(","), counts)
    return kinds


def check(path):
    n = 0
    for name, sizes, has_importance, told in lines_of(path):
        tensors = choose_types(tensors_of(sizes), TypeChoice(name, classic=True), has_importance)
        chosen = defaultdict(Counter)
        for tensor in tensors:
            if not stays_f32(tensor):
                chosen[kind_of(tensor.name)][tensor.type] += 1
        expected = types_by_kind(told[4])
        assert chosen.keys() == expected.keys()
        for kind, types in chosen.items():
            wanted = {each: int(count or types.total()) for each, count in expected[kind].items()}
            assert types == wanted, (name, has_importance, sizes, kind)
        n_bytes = sum(tensor.n_bytes for tensor in tensors)
        assert n_bytes / 1e9 == pytest.approx(float(told[2]), abs=0.02)
        n += 1
    return n


def test_types_are_those_of_llama_quantize():
    assert check(EXCERPT) == 13


def test_types_are_those_of_llama_quantize_in_the_whole_table():
    if not TABLE.exists():
        pytest.skip(f"needs {TABLE}")
    assert check(TABLE) == 4 * 22 + 4 * 4


def types(sizes: Sizes, choice: TypeChoice, has_importance: bool = True) -> dict[str, str]:
    return {tensor.name: tensor.type for tensor in choose_types(tensors_of(sizes), choice, has_importance)}


def test_matrices_that_everything_goes_through_are_kept_finer_than_in_llama_quantize():
    kept = types(AIR_WITH_MTP, TypeChoice("Q2_K"))
    assert {kept[f"blk.46.nextn.{part}.weight"] for part in ("eh_proj", "embed_tokens")} == {"Q8_0"}
    assert kept["blk.46.ffn_gate_exps.weight"] == "Q2_K"
    assert types(AIR_WITH_MTP, TypeChoice("Q2_K", classic=True))["blk.46.nextn.eh_proj.weight"] == "Q2_K"
    latent = types(FLASH, TypeChoice("MXFP4_MOE"))
    assert latent["blk.3.attn_k_b.weight"] == latent["blk.3.attn_v_b.weight"] == "Q8_0"
    assert types(AIR_WITH_MTP, TypeChoice("F16"))["blk.46.nextn.eh_proj.weight"] == "F16"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_everything_but_experts_at_8_bits_and_their_down_matrices_finer(name):
    chosen = types(GLM_46, TypeChoice(name))
    others = {kind_of(each): kind for each, kind in chosen.items() if "_exps" not in each and kind != "F32"}
    assert others.pop("output") == "Q6_K"
    assert set(others.values()) == {"Q8_0"}
    assert chosen["blk.9.ffn_gate_exps.weight"] == chosen["blk.9.ffn_up_exps.weight"] == name[4:]
    tensors = {each.name: each for each in choose_types(tensors_of(GLM_46), TypeChoice(name), True)}
    assert tensors["blk.9.ffn_down_exps.weight"].n_bytes > tensors["blk.9.ffn_up_exps.weight"].n_bytes


def test_the_first_expression_that_finds_a_name_decides():
    choice = TypeChoice("Q4_K_M", overrides=(("blk.3.*down_exps", "q8_0"), ("_exps", "Q3_K")))
    chosen = types(GLM_46, choice)
    assert chosen["blk.3.ffn_down_exps.weight"] == "Q8_0"
    assert chosen["blk.4.ffn_down_exps.weight"] == chosen["blk.3.ffn_up_exps.weight"] == "Q3_K"
    assert chosen["blk.4.ffn_up_shexp.weight"] == "Q4_K"


def test_an_override_of_a_type_into_whose_blocks_rows_do_not_divide():
    chosen = types(AIR, TypeChoice("Q8_0", overrides=(("ffn_down_exps", "Q4_K"),)))
    assert chosen["blk.3.ffn_down_exps.weight"] == "Q5_0"


def test_output_and_embedding():
    chosen = types(GLM_46, TypeChoice("Q2_K", output="Q8_0", token_embedding="q6_k"))
    assert (chosen["output.weight"], chosen["token_embd.weight"]) == ("Q8_0", "Q6_K")
    tied = [each for each in tensors_of(GLM_46) if each.name != "output.weight"]
    by_mix, by_choice = (
        next(each.type for each in choose_types(tied, choice, True) if each.name == "token_embd.weight")
        for choice in (TypeChoice("Q2_K"), TypeChoice("Q2_K", output="Q5_K"))
    )
    assert (by_mix, by_choice) == ("Q6_K", "Q5_K")


def test_pure():
    chosen = types(AIR_WITH_MTP, TypeChoice("Q4_K_M", pure=True, overrides=(("attn_v", "Q8_0"),)))
    assert Counter(chosen.values()).keys() == {"F32", "Q4_K", "Q5_0", "Q8_0"}
    assert chosen["output.weight"] == chosen["blk.46.nextn.eh_proj.weight"] == "Q4_K"
    assert chosen["blk.5.ffn_gate_inp.weight"] == "F32"


@pytest.mark.parametrize("name", ["q4_k_m", "Q4_K", "moe_q4_k"])
def test_names_are_known_in_small_letters_and_by_other_names(name):
    assert TypeChoice(name).mix.file_type == 15


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "Q4_KM"}, "type 'Q4_KM' is not known; did you mean Q4_K_M?"),
        ({"overrides": (("x", "Q4_K_M"),)}, "tensor type 'Q4_K_M' is not known; did you mean Q4_K?"),
        ({"overrides": (("(", "Q4_K"),)}, "'(' is no regular expression"),
        ({"overrides": (("a{9999999999}", "Q4_K"),)}, "'a{9999999999}' is no regular expression"),
        ({"overrides": (("(" * 2000, "Q4_K"),)}, "'((("),
        ({"output": "Q9"}, "tensor type 'Q9' is not known"),
        ({"token_embedding": ""}, "tensor type '' is not known"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(arguments, told):
    with pytest.raises(GlmqError) as found:
        TypeChoice(**arguments)
    assert str(found.value).startswith(told)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("expression", ["fnn_down", "attn_norm", "ffn_gate_inp"])
def test_an_expression_that_finds_nothing_that_could_be_quantized(expression):
    with pytest.raises(GlmqError, match=f"no tensor that could be quantized .*'{expression}'"):
        types(AIR, TypeChoice(overrides=((expression, "Q4_K"),)))


class Known:
    """Importance of the trunk, as a matrix has it: nothing of the embedding and of multi-token prediction."""

    file = "known.gguf"

    def __init__(self, but: str = "blk.46.") -> None:
        self._but = but

    def of(self, name, n_matrices, columns):
        if name == "token_embd.weight" or name.startswith(self._but):
            return None
        return np.broadcast_to(np.float32(1), (n_matrices, columns))


def test_what_an_importance_matrix_does_not_tell_of_gets_a_type_that_needs_none():
    choice = TypeChoice("IQ2_XXS", token_embedding="IQ2_XS")
    tensors, [remark] = with_importance(choose_types(tensors_of(AIR_WITH_MTP), choice, True), Known())
    found = {each.name: each for each in tensors}
    assert found["blk.46.ffn_up_exps.weight"].type == found["token_embd.weight"].type == "Q2_K"
    assert found["blk.45.ffn_up_exps.weight"].type == "IQ2_XXS"
    assert found["blk.45.ffn_up_exps.weight"].importance.shape == (128, 4096)
    assert found["blk.45.attn_norm.weight"].importance is None
    assert "such as token_embd.weight, are Q2_K and not IQ2_XS" in remark


def test_a_tensor_of_the_trunk_of_which_nothing_is_known_is_refused():
    tensors = choose_types(tensors_of(AIR_WITH_MTP), TypeChoice("IQ2_XXS"), True)
    with pytest.raises(GlmqError, match=r"blk\.7\..* would be IQ2_XXS, .* known\.gguf tells nothing of it"):
        with_importance(tensors, Known("blk.7."))


def test_numbers_of_file_types_are_those_of_the_gguf_package():
    from gguf import LlamaFileType

    for name, mix in CLASSIC.items():
        assert LlamaFileType(mix.file_type).name.removeprefix("MOSTLY_").removeprefix("ALL_") == name
