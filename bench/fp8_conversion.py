"""Converting one layer of GLM-4.5's geometry (355B) from FP8: peak memory, and speed without a disk.

python bench/fp8_conversion.py [--type q8_0] [--stacked] [--block] [--mtp]

The checkpoint is made up: sparse files, which take no disk and are read as zeros, so that what is measured
is the converter and the writing of its file, which goes beside them (some GB; removed in the end). With --mtp
the layer is of multi-token prediction, behind one of the model.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import tempfile
import time
from pathlib import Path

from glmq_convert.conversion import convert

from tests.glm4_moe_checkpoints import save_tokenizer

HIDDEN, VOCAB, EXPERTS, WIDTH, HEADS, KV_HEADS, HEAD_DIM = 5120, 151552, 160, 1536, 96, 8, 128
CONFIG = {
    "model_type": "glm4_moe", "hidden_size": HIDDEN, "vocab_size": VOCAB, "num_hidden_layers": 1,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "use_qk_norm": True,
    "attention_bias": True, "first_k_dense_replace": 0, "n_routed_experts": EXPERTS, "num_experts_per_tok": 8,
    "moe_intermediate_size": WIDTH, "routed_scaling_factor": 2.5, "num_nextn_predict_layers": 1,
}  # fmt: skip
BYTES = {"F8_E4M3": 1, "BF16": 2, "F32": 4}
Tensors = dict[str, tuple[str, tuple[int, ...]]]


def layer(i: int, stacked: bool, block: bool) -> Tensors:
    """Types and shapes of a layer's tensors, as released."""
    tensors: Tensors = {}

    def linear(name: str, *shape: int) -> None:
        *lead, rows, columns = shape
        scale = (*lead, -(-rows // 128), -(-columns // 128)) if block else (*lead, rows, 1)
        tensors[name] = "F8_E4M3", shape
        tensors[f"{name}_scale_inv" if block else f"{name}_scale"] = "F32" if block else "BF16", scale

    start = f"model.layers.{i}."
    for part, n in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
        linear(f"{start}self_attn.{part}_proj.weight", n * HEAD_DIM, HIDDEN)
        tensors[f"{start}self_attn.{part}_proj.bias"] = "BF16", (n * HEAD_DIM,)
    linear(f"{start}self_attn.o_proj.weight", HIDDEN, HEADS * HEAD_DIM)
    norms = {"self_attn.q_norm": HEAD_DIM, "self_attn.k_norm": HEAD_DIM, "input_layernorm": HIDDEN,
             "post_attention_layernorm": HIDDEN}  # fmt: skip
    tensors |= {f"{start}{name}.weight": ("BF16", (n,)) for name, n in norms.items()}
    tensors[f"{start}mlp.gate.weight"] = "BF16", (EXPERTS, HIDDEN)
    tensors[f"{start}mlp.gate.e_score_correction_bias"] = "F32", (EXPERTS,)
    if stacked:
        linear(f"{start}mlp.experts.gate_up_proj", EXPERTS, 2 * WIDTH, HIDDEN)
        linear(f"{start}mlp.experts.down_proj", EXPERTS, HIDDEN, WIDTH)
    networks = [] if stacked else [f"experts.{j}" for j in range(EXPERTS)]
    for network in [*networks, "shared_experts"]:
        for part, shape in (("gate", (WIDTH, HIDDEN)), ("up", (WIDTH, HIDDEN)), ("down", (HIDDEN, WIDTH))):
            linear(f"{start}mlp.{network}.{part}_proj.weight", *shape)
    if i:
        tensors[f"{start}eh_proj.weight"] = "BF16", (HIDDEN, 2 * HIDDEN)
        ends = ("enorm", "hnorm", "shared_head.norm")
        tensors |= {f"{start}{name}.weight": ("BF16", (HIDDEN,)) for name in ends}
        linear(f"{start}shared_head.head.weight", VOCAB, HIDDEN)
        tensors[f"{start}embed_tokens.weight"] = "BF16", (VOCAB, HIDDEN)
    return tensors


def write_sparse(path: Path, tensors: Tensors) -> int:
    """A safetensors file of zeros; gives its size."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    with path.open("r+b") as file:
        file.truncate(8 + len(raw) + end)
    return 8 + len(raw) + end


def main() -> None:
    """Make the checkpoint, convert it, and print what that took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--type", default="q8_0")
    for name in ("stacked", "block", "mtp"):
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        save_tokenizer(folder)
        ends: Tensors = {
            "model.embed_tokens.weight": ("BF16", (VOCAB, HIDDEN)),
            "model.norm.weight": ("BF16", (HIDDEN,)),
            "lm_head.weight": ("BF16", (VOCAB, HIDDEN)),
        }
        size = write_sparse(folder / "model.safetensors", ends | layer(0, options.stacked, options.block))
        if options.mtp:
            size += write_sparse(folder / "mtp.safetensors", layer(1, options.stacked, options.block))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu_began = time.perf_counter(), time.process_time()
        out = convert(folder, folder / "out.gguf", options.type, mtp=options.mtp)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"{size / 1e9:.1f} GB to {out.stat().st_size / 1e9:.1f} GB {options.type} in {seconds:.1f} s:"
            f" {size / 1e6 / seconds:.0f} MB/s read, {size / 1e6 / cpu_seconds:.0f} MB a second of a core;"
            f" peak memory {peak / 1e6:.2f} GB"
            f" ({before / 1e6:.2f} GB before)"
        )


if __name__ == "__main__":
    main()
