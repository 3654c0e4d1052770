"""Metadata of wrong types: values that are read are refused in one line that names the key."""

from __future__ import annotations

import random
import struct

import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.chat.template import template_of
from glmq.gguf import open_gguf
from glmq.gguf.header import ARRAY, BOOL, STRING
from glmq.sampling.recommendations import FILE_KEYS, recommended
from glmq.tokenizer import load_tokenizer

from .gguf_edits import GGUFParts, read_parts
from .gguf_files import FLOAT32, UINT32, array, string
from .small_models import write_deepseek2, write_glm4moe
from .test_tokenizer import write_sentence_pieces

INT32 = 5
WRONG = {
    "a number": (UINT32, struct.pack("<I", 7)),
    "minus one": (INT32, struct.pack("<i", -1)),
    "no number": (FLOAT32, struct.pack("<f", float("nan"))),
    "true": (BOOL, b"\1"),
    "text": (STRING, string("text")),
    "bytes that are no text": (STRING, string(b"\xff\xfe{{")),
    "empty text": (STRING, string("")),
    "an array of numbers": (ARRAY, array(UINT32, 2, struct.pack("<II", 1, 2))),
    "an array of fractions": (ARRAY, array(FLOAT32, 1, struct.pack("<f", 0.5))),
    "an array of text": (ARRAY, array(STRING, 2, string("a b") + string("c"))),
    "an empty array": (ARRAY, array(UINT32, 0, b"")),
    "an empty array of text": (ARRAY, array(STRING, 0, b"")),
}
MORE_KEYS = [
    *FILE_KEYS.values(),
    "general.type", "general.name", "general.basename", "general.version", "general.alignment",
    "split.count", "split.no", "tokenizer.chat_template", "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id", "tokenizer.ggml.eos_token_ids", "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.scores", "glm4moe.rope.scaling.type",
    "glm4moe.rope.scaling.factor", "glm4moe.rope.scale_linear", "glm4moe.nextn_predict_layers",
    "glm4moe.attention.sliding_window", "glm4moe.attention.causal", "glm4moe.pooling_type",
    "glm4moe.expert_group_count", "glm4moe.expert_shared_feed_forward_length",
]  # fmt: skip
SHORT_RUN = 100


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> GGUFParts:
    return read_parts(write_glm4moe(tmp_path_factory.mktemp("types") / "model.gguf", "Q8_0", name="GLM-4.7"))


def use(path) -> None:
    """All that reads metadata when a chat begins."""
    with glmq.load(path, n_ctx=64) as model:
        model.tokenizer.encode("[gMASK]<sop>Hello")
        template_of(model.file, model.tokenizer)
        recommended(model.file.metadata)


def check(parts, path, chosen) -> None:
    failures = []
    for key, kind in chosen:
        spoiled = parts.copy()
        spoiled.keys[key] = WRONG[kind]
        path.write_bytes(spoiled.to_bytes())
        try:
            use(path)
        except GlmqError as error:
            if not str(error).isprintable():
                failures.append(f"{key} = {kind}: {str(error)!r}")
        except Exception as error:
            failures.append(f"{key} = {kind}: {type(error).__name__}: {str(error)[:200]}")
    assert not failures, "\n".join(failures)


def cases(parts):
    return [(key, kind) for key in dict.fromkeys([*parts.keys, *MORE_KEYS]) for kind in WRONG]


def test_some_keys_of_latent_attention(tmp_path):
    """Of wrong types too."""
    parts = read_parts(write_deepseek2(tmp_path / "whole.gguf", "Q8_0"))
    names = ("q_lora_rank", "kv_lora_rank", "key_length_mla", "value_length_mla")
    chosen = [(f"deepseek2.attention.{name}", kind) for name in names for kind in WRONG]
    check(parts, tmp_path / "model.gguf", random.Random(2).sample(chosen, 20))


def test_some_keys_of_wrong_types(model, tmp_path):
    check(model, tmp_path / "model.gguf", random.Random(1).sample(cases(model), SHORT_RUN))


@pytest.mark.slow
def test_every_key_of_every_wrong_type(model, tmp_path):
    assert len(cases(model)) > 600
    check(model, tmp_path / "model.gguf", cases(model))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("tokenizer.ggml.tokens", "an array of numbers"),
        ("tokenizer.ggml.tokens", "text"),
        ("tokenizer.ggml.token_type", "an array of fractions"),
        ("tokenizer.ggml.token_type", "an array of text"),
        ("tokenizer.ggml.merges", "an array of numbers"),
        ("tokenizer.ggml.merges", "text"),
        ("tokenizer.ggml.merges", "a number"),
        ("tokenizer.ggml.pre", "an array of text"),
        ("tokenizer.ggml.model", "a number"),
        ("tokenizer.ggml.eos_token_id", "text"),
        ("tokenizer.ggml.eos_token_ids", "an array of fractions"),
        ("tokenizer.ggml.eos_token_ids", "true"),
        ("tokenizer.ggml.add_bos_token", "a number"),
        ("tokenizer.chat_template", "an array of text"),
        ("tokenizer.chat_template", "a number"),
        ("general.architecture", "a number"),
        ("general.type", "an array of text"),
        ("glm4moe.block_count", "text"),
        ("glm4moe.expert_weights_norm", "text"),
        ("glm4moe.rope.freq_base", "an array of fractions"),
        ("glm4moe.rope.scaling.type", "a number"),
    ],
)
def test_a_key_that_is_read_is_named(model, tmp_path, key, kind):
    spoiled = model.copy()
    spoiled.keys[key] = WRONG[kind]
    (tmp_path / "model.gguf").write_bytes(spoiled.to_bytes())
    with pytest.raises(GlmqError) as found:
        use(tmp_path / "model.gguf")
    assert key in str(found.value) or "tokenizer of the kind" in str(found.value)


@pytest.mark.parametrize("key", ("tokens", "scores", "token_type", "add_space_prefix", "bos_token_id"))
def test_vocabularies_of_sentence_pieces_too(tmp_path, key):
    write_sentence_pieces(tmp_path / "whole.gguf")
    whole = read_parts(tmp_path / "whole.gguf")
    messages = []
    for wrong in WRONG.values():
        parts = whole.copy()
        parts.keys[f"tokenizer.ggml.{key}"] = wrong
        (tmp_path / "v.gguf").write_bytes(parts.to_bytes())
        try:
            with open_gguf(tmp_path / "v.gguf") as file:
                load_tokenizer(file).encode("ab")
        except GlmqError as error:
            messages.append(str(error))
    assert len(messages) >= len(WRONG) - 4
    assert all("tokenizer.ggml." in message for message in messages)
