"""Converting one layer of GLM-4.5's geometry (355B) from FP8: peak memory, and speed.

python bench/fp8_conversion.py [--type q8_0] [--stacked] [--block] [--mtp] [--filled] [--folder FOLDER]

The checkpoint is made up: sparse files, which take no disk and are read as zeros, so that what is measured
is the converter and the writing of its file, which goes beside them (some GB; removed in the end). With
--filled they hold bytes and are read from the disk, and copying them, to the disk as well, is measured too.
With --mtp the layer is of multi-token prediction, behind one of the model.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
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
PIECE = 8 << 20
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


def write_file(path: Path, tensors: Tensors, filled: bool) -> int:
    """A safetensors file of zeros, or of finite weights of any kind; gives its size."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        # Bytes that are no NaN as E4M3, and as halves of BF16 numbers are small.
        content = np.random.default_rng(0).integers(0x20, 0x40, PIECE, np.uint8).tobytes() if filled else b""
        for first in range(0, end, PIECE) if filled else ():
            file.write(content[: min(PIECE, end - first)])
        file.truncate(8 + len(raw) + end)
        forget(file)
    return 8 + len(raw) + end


def forget(file: BinaryIO) -> None:
    """Have a file on the disk only."""
    file.flush()
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copying_seconds(files: Sequence[Path]) -> float:
    """How long it takes to read files from the disk and write them to it."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    for path in files:
        with path.open("rb") as source, path.with_suffix(".copy").open("wb") as copy:
            while piece := source.read(PIECE):
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        path.with_suffix(".copy").unlink()
    return time.perf_counter() - began


def main() -> None:
    """Make the checkpoint, convert it, and print what that took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--type", default="q8_0")
    for name in ("stacked", "block", "mtp", "filled"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--folder", default=".")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        save_tokenizer(folder)
        ends: Tensors = {
            "model.embed_tokens.weight": ("BF16", (VOCAB, HIDDEN)),
            "model.norm.weight": ("BF16", (HIDDEN,)),
            "lm_head.weight": ("BF16", (VOCAB, HIDDEN)),
        }
        files = {"model.safetensors": ends | layer(0, options.stacked, options.block)}
        if options.mtp:
            files["mtp.safetensors"] = layer(1, options.stacked, options.block)
        size = sum(write_file(folder / name, tensors, options.filled) for name, tensors in files.items())
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
        if options.filled:
            out.unlink()
            seconds = copying_seconds([folder / name for name in files])
            print(f"copying the checkpoint: {seconds:.1f} s, {size / 1e6 / seconds:.0f} MB/s")


if __name__ == "__main__":
    main()
