"""FP8 and int8 checkpoints: files as of the floats that their codes and scales stand for."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from glmq_convert.checkpoint import open_checkpoint
from glmq_convert.conversion import convert
from glmq_convert.quantization import Quantization
from glmq_convert.scaled_weights import scaled_weights
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.scaled_codes import CODE_VALUES, decode_rows

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import save_file  # noqa: E402

from tests import glm4_moe_checkpoints as checkpoints  # noqa: E402
from tests import quantized_checkpoints as quantized  # noqa: E402

SIZES = {"hidden_size": 80, "moe_intermediate_size": 48, "num_hidden_layers": 2}  # 80 = 2.5 blocks, 48 = 1.5
FP8, INT8 = torch.float8_e4m3fn, torch.int8
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A bfloat16 checkpoint with a layer of multi-token prediction, before it is quantized."""
    folder = tmp_path_factory.mktemp("plain") / "GLM"
    checkpoints.save_checkpoint(folder, mtp=True, dtype="bfloat16", **SIZES)
    return folder


@pytest.fixture
def copy(plain, tmp_path):
    shutil.copytree(plain, tmp_path / "GLM")
    return tmp_path / "GLM"


def converted(folder, out, type_name="f32"):
    return convert(folder, out, type_name, threads=1, force=True).read_bytes()


def same_as_floats(folder, tmp_path, stands_for, type_name="f32"):
    """Whether the file is that of a checkpoint of floats, byte by byte."""
    found = converted(folder, tmp_path / "codes.gguf", type_name)
    quantized.write_as_floats(folder, stands_for)
    return found == converted(folder, tmp_path / "floats.gguf", type_name)


def test_codes_stand_for_what_torch_says():
    codes = torch.arange(256).to(torch.uint8)
    for name, dtype in (("F8_E4M3", FP8), ("I8", INT8)):
        np.testing.assert_array_equal(CODE_VALUES[name], codes.view(dtype).float().numpy())


@pytest.mark.parametrize(
    ("strategy", "code", "scale"),
    [
        ("channel", FP8, torch.bfloat16),
        ("channel", FP8, torch.float16),
        ("tensor", FP8, torch.float32),
        ("block", FP8, torch.bfloat16),
        ("inverse block", FP8, torch.float32),
        ("channel", INT8, torch.bfloat16),
        ("group", INT8, torch.float16),
    ],
)
def test_every_kind_of_scales(copy, tmp_path, strategy, code, scale):
    stands_for = quantized.quantize_checkpoint(copy, strategy, code, scale)
    assert same_as_floats(copy, tmp_path, stands_for)


def test_portions_may_end_inside_a_block(copy, tmp_path, monkeypatch):
    stands_for = quantized.quantize_checkpoint(copy, "block")
    monkeypatch.setattr("glmq_convert.gguf_writer.PORTION_BYTES", 700)
    assert same_as_floats(copy, tmp_path, stands_for, "q8_0")


@pytest.mark.parametrize("strategy", ("channel", "inverse block", "tensor"))
def test_stacked_experts(copy, tmp_path, monkeypatch, strategy):
    checkpoints.fuse_experts(copy)
    stands_for = quantized.quantize_checkpoint(copy, strategy)
    assert stands_for["model.layers.1.mlp.experts.gate_up_proj"].shape == (8, 96, 80)
    monkeypatch.setattr("glmq_convert.gguf_writer.PORTION_BYTES", 9000)  # across the borders of experts
    assert same_as_floats(copy, tmp_path, stands_for)


def test_keys_and_values_of_latent_attention_are_split_behind_their_scales(tmp_path):
    checkpoints.save_checkpoint(tmp_path / "GLM", kind="glm4_moe_lite", dtype="bfloat16", num_hidden_layers=2)
    stands_for = quantized.quantize_checkpoint(tmp_path / "GLM", "inverse block")
    codes = checkpoints.load_weights(tmp_path / "GLM")["model.layers.1.self_attn.kv_b_proj.weight"]
    assert codes.dtype == FP8
    assert same_as_floats(tmp_path / "GLM", tmp_path, stands_for)


@pytest.mark.parametrize("shape", ((), (1,), (1, 1)))
def test_shapes_of_one_scale_for_all(copy, tmp_path, shape):
    stands_for = quantized.quantize_checkpoint(copy, "tensor")
    checkpoints.change_weights(
        copy, lambda t: t.update({k: t[k].reshape(shape) for k in t if k.endswith("_scale")})
    )
    assert same_as_floats(copy, tmp_path, stands_for)


def test_scales_of_rows_without_a_second_dimension(copy, tmp_path):
    stands_for = quantized.quantize_checkpoint(copy, "channel")
    checkpoints.change_weights(
        copy, lambda t: t.update({k: t[k].squeeze(-1) for k in t if k.endswith("_scale")})
    )
    assert same_as_floats(copy, tmp_path, stands_for)


def test_config_json_need_not_tell_of_it(copy, tmp_path):
    stands_for = quantized.quantize_checkpoint(copy, "channel")
    checkpoints.change_config(copy, quantization_config={"quant_method": "another"})
    assert same_as_floats(copy, tmp_path, stands_for)


def test_how_activations_are_quantized_is_passed_over(copy, tmp_path):
    stands_for = quantized.quantize_checkpoint(copy, "tensor")
    attention = "model.layers.0.self_attn."
    beside = {f"{attention}q_proj.input_scale": torch.ones(1), f"{attention}k_scale": torch.ones(1),
              f"{attention}v_scale": torch.ones(1), f"{attention}k_proj.output_scale": torch.ones(1),
              f"{attention}q_proj.weight_zero_point": torch.zeros(1, dtype=torch.int8)}  # fmt: skip
    checkpoints.change_weights(copy, lambda t: t.update(beside))
    assert same_as_floats(copy, tmp_path, stands_for)


def wrong(edit):
    """The message about a checkpoint that was edited."""

    def refusal(folder, out, **more) -> str:
        checkpoints.change_weights(folder, edit)
        with pytest.raises(GlmqError) as found:
            convert(folder, out / "model.gguf", **more)
        assert "\n" not in str(found.value)
        return str(found.value)

    return refusal


def test_a_weight_without_scales_is_named(copy, tmp_path):
    quantized.quantize_checkpoint(copy, "channel")
    message = wrong(lambda t: t.pop(f"{Q_PROJ}_scale"))(copy, tmp_path)
    assert f"{Q_PROJ} is stored as F8_E4M3 and has no scale" in message


def test_scales_of_two_names_are_named(copy, tmp_path):
    quantized.quantize_checkpoint(copy, "channel")
    message = wrong(lambda t: t.update({f"{Q_PROJ}_scale_inv": t[f"{Q_PROJ}_scale"].clone()}))(copy, tmp_path)
    assert f"{Q_PROJ}_scale and {Q_PROJ}_scale_inv" in message


def test_scales_that_are_left_over_are_named(copy, tmp_path):
    quantized.quantize_checkpoint(copy, "channel")
    name = "model.layers.1.mlp.gate.weight_scale"
    assert name in wrong(lambda t: t.update({name: torch.ones(8, 1)}))(copy, tmp_path)


@pytest.mark.parametrize("shape", ((127, 1), (2, 128), (128, 3), (0, 1)))
def test_scales_of_another_shape_are_named(copy, tmp_path, shape):
    quantized.quantize_checkpoint(copy, "channel")
    message = wrong(lambda t: t.update({f"{Q_PROJ}_scale": torch.ones(shape)}))(copy, tmp_path)
    assert f"{Q_PROJ}_scale has shape {shape}" in message


def test_scales_of_another_type_are_named(copy, tmp_path):
    quantized.quantize_checkpoint(copy, "channel")
    message = wrong(lambda t: t.update({f"{Q_PROJ}_scale": t[f"{Q_PROJ}_scale"].double()}))(copy, tmp_path)
    assert f"{Q_PROJ}_scale is stored as F64" in message


def test_zero_points_are_named(copy, tmp_path):
    quantized.quantize_checkpoint(copy, "channel", INT8)
    name = f"{Q_PROJ}_zero_point"
    message = wrong(lambda t: t.update({name: torch.full((128, 1), 3, dtype=INT8)}))(copy, tmp_path)
    assert name in message
    assert "symmetric" in message


def test_a_code_that_is_no_number_is_named(copy, tmp_path):
    quantized.quantize_checkpoint(copy, "channel")

    def spoil(tensors):
        tensors[Q_PROJ].view(torch.uint8)[3, 5] = 0x7F

    message = wrong(spoil)(copy, tmp_path)
    assert Q_PROJ in message
    assert "not a finite number" in message


def test_without_multi_token_prediction_its_scales_do_not_matter(copy, tmp_path):
    quantized.quantize_checkpoint(copy, "channel")
    head = "model.layers.2.shared_head.head.weight_scale"
    message = wrong(lambda t: t.pop(head))(copy, tmp_path)
    assert head.removesuffix("_scale") in message
    assert "or leave the multi-token-prediction layer out" in message
    assert convert(copy, tmp_path / "model.gguf", mtp=False).is_file()


def test_weights_quantized_in_other_ways_are_named(copy, tmp_path):
    checkpoints.change_config(copy, quantization_config={"quant_method": "awq"})
    name = Q_PROJ.removesuffix("weight") + "qweight"
    message = wrong(lambda t: t.update({name: torch.ones(4, 4, dtype=torch.int32)}))(copy, tmp_path)
    assert "stored as awq" in message
    assert name in message


def test_blocks_of_128_with_cut_off_ends(tmp_path):
    """Of 576 rows there are 5 rows of blocks, of 10944 there are 86."""
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(rng.integers(0, 127, (576, 320), np.uint8)).view(FP8)
    scales = torch.from_numpy(rng.uniform(0.5, 2, (5, 3)).astype(np.float32))
    save_file({"a.weight": codes, "a.weight_scale_inv": scales}, tmp_path / "model.safetensors")
    weights, remarks = scaled_weights(open_checkpoint(tmp_path, 1), Quantization("fp8"), 1)
    assert (list(weights), remarks) == (["a.weight"], [])
    expected = codes.float() * scales.repeat_interleave(128, 0)[:576].repeat_interleave(128, 1)[:, :320]
    buffer = np.empty(4 * 200 * 320, np.uint8)
    np.testing.assert_array_equal(weights.read("a.weight", 376, 200, buffer), expected[376:])


def test_scales_that_do_not_fit_are_an_error_of_the_program():
    codes, out = np.zeros((4, 8), np.uint8), np.empty((4, 8), np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        decode_rows(codes, "I8", np.ones((3, 1), np.float32), (1, 8), 0, out)
