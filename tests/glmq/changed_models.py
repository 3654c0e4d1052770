"""Small models with one thing changed that a file says: a number, a type, a value, a shape.

    for every architecture and variant of `MODELS`
        every number of the metadata      0, 1, -1, one less, one more, 2^31, 2^63, NaN, ...; other types
        every array of the metadata       shorter, longer, empty, extreme entries
        every float vector and router     NaN, infinities, 3e38, 1e-42, whole or in one place
        every tensor                      odd bytes, another shape, missing

A new architecture is a further entry of `MODELS`.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from glmq.gguf.header import ARRAY, BOOL, NUMBERS, STRING

from . import small_models
from .gguf_edits import NUMBER_OF_TYPE, GGUFParts, read_parts
from .gguf_files import string
from .small_models import SmallModel, write_deepseek2, write_glm4moe, write_llama

Change = Callable[[GGUFParts], None]
F32 = 0


@dataclass(frozen=True)
class Case:
    """A changed model. must_fail: the change is one that no text may come of."""

    model: str
    what: str
    change: Change
    must_fail: bool = False

    @property
    def name(self) -> str:
        """To find it again."""
        return f"{self.model}: {self.what}"


def in_groups(model: SmallModel) -> None:
    """Groups of experts, and the keys that every file may have."""
    model.writer.add_expert_group_count(4)
    model.writer.add_expert_group_used_count(2)
    model.writer.add_uint32("glm4moe.expert_shared_feed_forward_length", small_models.EXPERT_WIDTH)
    model.writer.add_uint32("glm4moe.nextn_predict_layers", 0)
    with_optional_keys(model)


def with_optional_keys(model: SmallModel) -> None:
    """Scaling by YaRN, settings of sampling, special tokens."""
    writer, prefix = model.writer, f"{model.writer.arch}.rope.scaling."
    writer.add_string(f"{prefix}type", "yarn")
    writer.add_uint32(f"{prefix}original_context_length", 128)
    for name in ("factor", "attn_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"):
        writer.add_float32(prefix + name, {"yarn_beta_fast": 32, "factor": 4}.get(name, 1))
    for name in ("temp", "top_p", "min_p", "xtc_probability", "penalty_repeat", "mirostat_tau"):
        writer.add_float32(f"general.sampling.{name}", 0.5)
    for name in ("top_k", "penalty_last_n", "mirostat"):
        writer.add_int32(f"general.sampling.{name}", 0)
    writer.add_eot_token_id(3)
    writer.add_array("tokenizer.ggml.eos_token_ids", [4, 5])
    writer.add_bool("tokenizer.ggml.add_bos_token", True)


def not_saying(model: SmallModel) -> None:
    """How experts are chosen, as early files did not."""
    model.writer.kv_data[0].pop("deepseek2.expert_gating_func")


def in_sentence_pieces(model: SmallModel) -> None:
    """Another vocabulary: SentencePiece's, with bytes."""
    for name in ("model", "pre", "tokens", "token_type", "merges"):
        model.writer.kv_data[0].pop(f"tokenizer.ggml.{name}")
    n = small_models.N_VOCAB
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "b", "ab"]
    tokens += [f"[PAD{i}]" for i in range(n - len(tokens))]
    model.writer.add_tokenizer_model("llama")
    model.writer.add_token_list(tokens)
    model.writer.add_token_types([2, 3, 3, *256 * [6], *4 * [1], *(n - 263) * [5]])
    model.writer.add_token_scores([-float(i) for i in range(n)])
    model.writer.add_chat_template("{% for m in messages %}{{ bos_token }}{{ m.content }}{% endfor %}")


def narrow(write: Callable[..., Path]) -> Callable[..., Path]:
    """Write a model that is as small as its kernels allow, but for types in blocks of 256."""

    def write_narrow(path: Path, *arguments: object, **options: object) -> Path:
        sizes = {"HIDDEN": 96, "EXPERT_WIDTH": 32, "DENSE_WIDTH": 160, "HEAD_DIM": 48}
        before = {name: getattr(small_models, name) for name in sizes}
        vars(small_models).update(sizes)
        try:
            return write(path, *arguments, **options)
        finally:
            vars(small_models).update(before)

    return write_narrow


MODELS: dict[str, Callable[[Path], Path]] = {
    "glm4moe in F32 with biases": partial(narrow(write_glm4moe), type_name="F32"),
    "glm4moe in Q8_0 with groups": partial(
        narrow(write_glm4moe), type_name="Q8_0", qk_norm=True, change=in_groups
    ),
    "glm4moe in Q4_K": partial(write_glm4moe, type_name="Q4_K", qk_norm=True, name="GLM-4.6"),
    "deepseek2 in F32": partial(narrow(write_deepseek2), type_name="F32", groups=True),
    "deepseek2 in Q8_0 as older files": partial(
        narrow(write_deepseek2), type_name="Q8_0", old_layout=True, fused=True, q_rank=0, change=not_saying
    ),
    "llama in F16": partial(narrow(write_llama), type_name="F16", change=with_optional_keys),
    "llama in Q4_0 with sentence pieces": partial(
        narrow(write_llama), type_name="Q4_0", change=in_sentence_pieces
    ),
}


def all_cases(models: dict[str, GGUFParts]) -> list[Case]:
    """Every change of every model, in an order without meaning that is always the same."""
    cases = [
        Case(model, what, change, must_fail)
        for model, parts in models.items()
        for what, change, must_fail in [*_of_metadata(parts), *_of_tensors(parts)]
    ]
    random.Random(0).shuffle(cases)
    return cases


def write_models(folder: Path) -> dict[str, GGUFParts]:
    """The models to change."""
    return {
        name: read_parts(write(folder / f"model-{i}.gguf")) for i, (name, write) in enumerate(MODELS.items())
    }


Described = tuple[str, Change, bool]


def _of_metadata(parts: GGUFParts) -> Iterator[Described]:
    for name, (kind, raw) in parts.keys.items():
        changed: Iterator[tuple[str, tuple[int, bytes]]]
        if kind == ARRAY:
            changed = _changed_arrays(raw)
        elif kind == STRING:
            changed = iter((("empty", (STRING, string(""))), ("other", (STRING, string("?")))))
        else:
            changed = _changed_numbers(kind, raw)
        for what, value in [*changed, *_other_types(kind)]:
            yield f"{name} {what}", partial(_set_key, name=name, value=value), False
        yield f"{name} missing", partial(_remove_key, name=name), False


def _set_key(parts: GGUFParts, name: str, value: tuple[int, bytes]) -> None:
    parts.keys[name] = value


def _remove_key(parts: GGUFParts, name: str) -> None:
    del parts.keys[name]


def _number(type_name: str, value: float) -> tuple[int, bytes]:
    kind = NUMBER_OF_TYPE[type_name]
    return kind, struct.pack(NUMBERS[kind][1], value)


def _changed_numbers(kind: int, raw: bytes) -> Iterator[tuple[str, tuple[int, bytes]]]:
    type_name, layout = NUMBERS[kind]
    (now,) = struct.unpack(layout, raw)
    if kind == BOOL:
        yield "flipped", (BOOL, bytes([1 - now]))
        return
    for value in (0, 1, -1, now - 1, now + 1, 2 * now, 1 << 31, 1 << 63):
        for other in (type_name, "int32", "uint32", "uint64", "int64", "float32"):
            try:
                yield f"{other} {value}", _number(other, value)
            except struct.error:
                continue
            break
    for value in (np.nan, np.inf, -np.inf, 1e-42, -1e-42, 3e38, -3e38):
        yield f"float32 {value}", _number("float32", value)
    for value in (5e-324, 1e308, now + 0.5):
        yield f"float64 {value}", _number("float64", value)


def _other_types(kind: int) -> Iterator[tuple[str, tuple[int, bytes]]]:
    for type_name, value in (("bool", 1), ("uint8", 255), ("int64", -(1 << 63)), ("float64", 2.0)):
        yield f"{type_name} {value}", _number(type_name, value)
    if kind != STRING:
        yield "text", (STRING, string("many"))
    yield "empty array", (ARRAY, struct.pack("<IQ", NUMBER_OF_TYPE["uint32"], 0))
    yield "array of numbers", (ARRAY, struct.pack("<IQ3I", NUMBER_OF_TYPE["uint32"], 3, 1, 2, 0xFFFFFFFF))
    yield "array of texts", (ARRAY, struct.pack("<IQ", STRING, 2) + string("a") + string(""))


def _changed_arrays(raw: bytes) -> Iterator[tuple[str, tuple[int, bytes]]]:
    element, count = struct.unpack_from("<IQ", raw)
    body = raw[12:]
    if element == STRING:
        yield "one less", (ARRAY, struct.pack("<IQ", element, count - 1) + _texts(body, count - 1))
        yield "one more", (ARRAY, struct.pack("<IQ", element, count + 1) + body + string("more"))
        yield "all empty", (ARRAY, struct.pack("<IQ", element, count) + count * string(""))
        yield "all the same", (ARRAY, struct.pack("<IQ", element, count) + count * string("a b"))
        return
    values = np.frombuffer(body, NUMBERS[element][1])
    yield "one less", (ARRAY, struct.pack("<IQ", element, count - 1) + values[:-1].tobytes())
    yield "one more", (ARRAY, struct.pack("<IQ", element, count + 1) + body + values[-1:].tobytes())
    for other in ("int8", "uint64", "float32", "bool"):
        changed = values.astype(NUMBERS[NUMBER_OF_TYPE[other]][1])
        yield f"of {other}", (ARRAY, struct.pack("<IQ", NUMBER_OF_TYPE[other], count) + changed.tobytes())
    for extreme in (0, 1, -1, 127, (1 << 31) - 1, -(1 << 31)):
        for place in (0, count // 2, slice(None)):
            changed = values.copy()
            with np.errstate(all="ignore"):
                changed[place] = np.array(extreme).astype(changed.dtype)
            yield f"{extreme} at {place}", (ARRAY, struct.pack("<IQ", element, count) + changed.tobytes())


def _texts(body: bytes, count: int) -> bytes:
    """The first strings of an array."""
    end = 0
    for _ in range(count):
        end += 8 + struct.unpack_from("<Q", body, end)[0]
    return body[:end]


SPOILT = (np.nan, np.inf, -np.inf, 3e38, -3.4e38, 1e-42, 0.0)


def _of_tensors(parts: GGUFParts) -> Iterator[Described]:
    for name, (kind, shape, _) in parts.tensors.items():
        if kind == F32:
            yield from _spoilt(name, shape)
        for what, fill in (("bytes of 255", 255), ("bytes of 0", 0), ("bytes of 124", 124)):
            yield f"{name} {what}", partial(_set_bytes, name=name, fill=fill), False
        yield f"{name} random bytes", partial(_set_random, name=name), False
        yield f"{name} missing", partial(_remove_tensor, name=name), False
        for axis in range(len(shape)):
            if shape[axis] > 1 and (axis < len(shape) - 1 or kind == F32):
                yield f"{name} one less in dimension {axis}", partial(_shorten, name=name, axis=axis), False
        if len(shape) > 1:
            yield f"{name} turned", partial(_reshape, name=name, shape=shape[::-1]), False
        yield f"{name} flat", partial(_reshape, name=name, shape=(int(np.prod(shape)),)), False
        yield f"{name} deeper", partial(_reshape, name=name, shape=(1, *shape)), False


def _spoilt(name: str, shape: tuple[int, ...]) -> Iterator[Described]:
    is_read_by_all = len(shape) == 1 or name.endswith("ffn_gate_inp.weight")
    places: dict[str, object] = {"everywhere": slice(None), "at its start": (0,) * len(shape)}
    places["at its end"] = (-1,) * len(shape)
    if len(shape) > 1:
        places["in a row"] = len(shape) // 2
    for value in SPOILT:
        for where, place in places.items():
            change = partial(_set_values, name=name, place=place, value=value)
            yield f"{name} {value} {where}", change, is_read_by_all and not np.isfinite(value)


def _set_values(parts: GGUFParts, name: str, place: object, value: float) -> None:
    values = parts.floats(name)
    values[place] = value  # type: ignore[index]
    parts.set_floats(name, values)


def _set_bytes(parts: GGUFParts, name: str, fill: int) -> None:
    kind, shape, data = parts.tensors[name]
    parts.tensors[name] = kind, shape, np.full_like(data, fill)


def _set_random(parts: GGUFParts, name: str) -> None:
    kind, shape, data = parts.tensors[name]
    parts.tensors[name] = kind, shape, np.random.default_rng(0).integers(0, 256, data.size, np.uint8)


def _remove_tensor(parts: GGUFParts, name: str) -> None:
    del parts.tensors[name]


def _shorten(parts: GGUFParts, name: str, axis: int) -> None:
    kind, shape, data = parts.tensors[name]
    row_bytes = data.size // int(np.prod(shape[:-1]))
    whole = data.reshape(*shape[:-1], row_bytes)
    size = shape[axis] - 1
    kept = np.take(whole, range(size if axis < len(shape) - 1 else 4 * size), axis=axis)
    parts.tensors[name] = kind, (*shape[:axis], size, *shape[axis + 1 :]), kept.reshape(-1)


def _reshape(parts: GGUFParts, name: str, shape: tuple[int, ...]) -> None:
    kind, _, data = parts.tensors[name]
    parts.tensors[name] = kind, shape, data
