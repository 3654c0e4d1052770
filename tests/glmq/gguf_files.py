"""Small GGUF files for tests: sound ones by the gguf package, odd ones byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

UINT8, UINT16, UINT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 0, 2, 4, 6, 7, 8, 9, 10
F32, Q4_0, Q4_K = 0, 2, 12


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def key(name: str | bytes, value_type: int, value: bytes) -> bytes:
    return string(name) + struct.pack("<I", value_type) + value


def array(element_type: int, count: int, elements: bytes) -> bytes:
    return struct.pack("<IQ", element_type, count) + elements


def tensor(
    name: str | bytes = "a", dimensions: Sequence[int] = (4,), type_number: int = F32, offset: int = 0
) -> bytes:
    """An entry of the tensor list; dimensions as in the file, the fastest first."""
    return (
        string(name)
        + struct.pack("<I", len(dimensions))
        + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        + struct.pack("<IQ", type_number, offset)
    )


def gguf_bytes(
    keys: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    n_keys: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
) -> bytes:
    """A file of these parts; counts that differ from the parts make it a lie."""
    header = b"GGUF" + struct.pack(
        "<IQQ",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(keys) if n_keys is None else n_keys,
    )
    header += b"".join([*keys, *tensors])
    return header + bytes(-len(header) % alignment) + data


def write_small_model(path: Path) -> dict[str, np.ndarray]:
    """A file with a value of every type and tensors of three types. Gives the F32 tensors."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("small.uint8", 200)
    writer.add_int8("small.int8", -100)
    writer.add_uint16("small.uint16", 60000)
    writer.add_int16("small.int16", -30000)
    writer.add_uint32("small.uint32", 4_000_000_000)
    writer.add_int32("small.int32", -2_000_000_000)
    writer.add_uint64("small.uint64", 1 << 63)
    writer.add_int64("small.int64", -(1 << 62))
    writer.add_float32("small.float32", 0.1)
    writer.add_float64("small.float64", 0.1)
    writer.add_bool("small.bool", True)
    writer.add_string("small.string", "Grüße, 世界")
    writer.add_array("small.integers", [1, -2, 3])
    writer.add_array("small.floats", [0.5, -1.5])
    writer.add_array("small.bools", [True, False, True])
    writer.add_token_list(["<s>", "a", "\u0120world", "", "é"])
    rng = np.random.default_rng(1)
    tensors = {
        "token_embd.weight": rng.standard_normal((5, 64)).astype(np.float32),
        "output_norm.weight": rng.standard_normal(64).astype(np.float32),
        "blk.0.ffn_up_exps.weight": rng.standard_normal((2, 3, 64)).astype(np.float32),
    }
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    quantized = gguf.quants.quantize(tensors["token_embd.weight"], gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("half.weight", tensors["output_norm.weight"].astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def write_split_model(folder: Path, n_parts: int = 3) -> list[Path]:
    """A model in parts as llama-gguf-split names them, one F32 tensor `part.I` of 8 values I in each."""
    paths = []
    for i in range(n_parts):
        keys = [
            key("split.no", UINT16, struct.pack("<H", i)),
            key("split.count", UINT16, struct.pack("<H", n_parts)),
            key("split.tensors.count", 5, struct.pack("<i", n_parts)),
        ]
        if i == 0:
            keys.append(key("general.architecture", STRING, string("llama")))
        path = folder / f"model-{i + 1:05}-of-{n_parts:05}.gguf"
        values = np.full(8, i, np.float32).tobytes()
        path.write_bytes(gguf_bytes(keys, [tensor(f"part.{i}", (8,))], values))
        paths.append(path)
    return paths
