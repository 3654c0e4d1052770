"""Whatever the JSON files of a checkpoint hold: it converts, or one line says what is wrong."""

from __future__ import annotations

import json
import random
import shutil

import pytest
from glmq_convert.conversion import convert
from glmq_kernels.errors import GlmqError

from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints

INDEX = "model.safetensors.index.json"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", INDEX)
WRONG = {
    "null": None,
    "true": True,
    "zero": 0,
    "minus one": -1,
    "a fraction": 1.5,
    "a large number": 2**70,
    "the largest whole number": 2**31 - 1,
    "infinity": float("inf"),
    "no number": float("nan"),
    "text": "text",
    "empty text": "",
    "half a character": "\ud800",
    "control characters": "\x00\n\x1b[2J",
    "an empty list": [],
    "a list": [None, 1, "text"],
    "an empty object": {},
    "an object": {"key": {"key": [1]}},
}
DEPTH = 5
ENTRIES = 3  # of each list, and of objects with more than MOST_KEYS
MOST_KEYS = 100
SHORT_RUN = 150


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny checkpoint with every field that conversion reads."""
    folder = tmp_path_factory.mktemp("damaged") / "GLM"
    checkpoints.save_checkpoint(
        folder, mtp=True, hidden_size=32, vocab_size=360, intermediate_size=32, moe_intermediate_size=32,
        n_routed_experts=4, num_experts_per_tok=2, num_hidden_layers=2,
    )  # fmt: skip
    more = {
        "config.json": {
            "rope_scaling": {
                "type": "yarn", "factor": 2.0, "beta_fast": 32, "mscale": 1.0, "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 9, "attention_factor": 1.1, "truncate": True,
            },
            "quantization_config": {"quant_method": "fp8"},
            "eos_token_id": [316, 323],
            "pad_token_id": 316,
            "layer_types": ["full_attention", "full_attention"],
            "sliding_window": None,
            "torch_dtype": "bfloat16",
            "rope_theta": 1e6,
            "partial_rotary_factor": 0.5,
            "num_mtp_layers": 1,
            "num_local_experts": 4,
            "_name_or_path": "someone/GLM",
            "moe_layer_freq": 1,
            "scoring_func": "sigmoid",
            "original_max_position_embeddings": 64,
        },
        "tokenizer_config.json": {
            "added_tokens_decoder": {"316": {"content": "<|endoftext|>", "special": True, "lstrip": False}},
            "bos_token": {"content": "<sop>", "lstrip": False},
            "unk_token": None,
            "add_bos_token": False,
            "chat_template": [{"name": "default", "template": "x"}, {"name": "tools", "template": "y"}],
        },
        "generation_config.json": {
            "eos_token_id": [316, 323, 325], "temperature": 0.6, "top_k": 40, "top_p": 0.95, "min_p": 0.0,
            "repetition_penalty": 1.0, "do_sample": True,
        },
        "tokenizer.json": {"normalizer": {"type": "NFC"}},
    }  # fmt: skip
    for name, fields in more.items():
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    (folder / "README.md").write_text("---\nlicense: mit\ntags:\n- a\n---\n# GLM\n")
    return folder


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A checkpoint to spoil, with links to the weights."""
    folder = tmp_path / "GLM"
    shutil.copytree(checkpoint, folder, copy_function=link_weights)
    return folder


def link_weights(source, target):
    if str(source).endswith(".safetensors"):
        return shutil.os.link(source, target)
    return shutil.copy(source, target)


def outcome(folder, out) -> str:
    """The message of the refusal, or "" when the checkpoint was converted to a sound file."""
    for path in out.glob("*.gguf"):
        path.unlink()
    try:
        path = convert(folder, out / "model.gguf", threads=1)
        with open_gguf(path) as file:
            load_tokenizer(file)
    except GlmqError as error:
        message = str(error)
        assert message.isprintable(), ascii(message)
        assert len(message) < 600
        return message
    return ""


def places(value, depth=DEPTH):
    """The ways to every field of a JSON value, with it all."""
    yield ()
    if depth and isinstance(value, dict):
        keys = list(value) if len(value) <= MOST_KEYS else list(value)[:ENTRIES]
        for key in keys:
            yield from ((key, *rest) for rest in places(value[key], depth - 1))
    elif depth and isinstance(value, list):
        for i in range(min(len(value), ENTRIES)):
            yield from ((i, *rest) for rest in places(value[i], depth - 1))


def replaced(value, place, wrong):
    if not place:
        return wrong
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = replaced(value[place[0]], place[1:], wrong)
    return copy


def cases(checkpoint):
    for name in FILES:
        content = json.loads((checkpoint / name).read_text())
        for place in places(content):
            for kind in WRONG:
                yield name, place, kind


def check(folder, out, chosen):
    """Try cases one by one; all failures together."""
    failures = []
    contents = {name: (folder / name).read_text() for name in FILES}
    for name, place, kind in chosen:
        spoiled = replaced(json.loads(contents[name]), place, WRONG[kind])
        (folder / name).write_text(json.dumps(spoiled))
        try:
            outcome(folder, out)
        except Exception as error:
            failures.append(f"{name} {place} = {kind}: {type(error).__name__}: {str(error)[:200]}")
        (folder / name).write_text(contents[name])
    assert not failures, "\n".join([f"{len(failures)} failures", *failures[:40]])


def test_the_checkpoint_itself_converts(copy, tmp_path):
    assert outcome(copy, tmp_path) == ""


def test_some_fields_of_wrong_types(checkpoint, copy, tmp_path):
    every = list(cases(checkpoint))
    assert len(every) > 2000
    check(copy, tmp_path, random.Random(1).sample(every, SHORT_RUN))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_field_of_every_wrong_type(checkpoint, copy, tmp_path, name):
    check(copy, tmp_path, (case for case in cases(checkpoint) if case[0] == name))


OTHER_MODELS = {
    "glm4_moe_lite": {"mlp_layer_types": ["dense", "sparse"]},
    "llama": {
        "rope_scaling": {
            "rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHER_MODELS)
def test_every_field_of_every_wrong_type_in_other_models(tmp_path, kind):
    folder = tmp_path / "GLM"
    checkpoints.save_checkpoint(folder, kind=kind, num_hidden_layers=2, max_shard_size="100KB")
    checkpoints.change_config(folder, **OTHER_MODELS[kind])
    assert outcome(folder, tmp_path) == ""
    check(folder, tmp_path, (case for case in cases(folder) if case[0] == "config.json"))


def test_where_the_model_comes_from_need_not_be_text(copy, tmp_path):
    checkpoints.change_config(copy, _name_or_path="\ud800")
    assert outcome(copy, tmp_path) == ""


TEXTS = {
    "empty": b"",
    "not JSON": b"{not JSON}",
    "cut": b'{"a": [1, 2',
    "a list": b"[1, 2]",
    "a number": b"5",
    "null": b"null",
    "Latin-1": '{"a": "Größe"}'.encode("latin-1"),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "zeros": bytes(1000),
    "nested lists": b"[" * 200_000,
    "nested objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "a number of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
}


@pytest.mark.parametrize("name", (*FILES, "chat_template.json"))
@pytest.mark.parametrize("kind", TEXTS)
def test_files_that_are_no_json_object_are_named(copy, tmp_path, name, kind):
    (copy / name).write_bytes(TEXTS[kind])
    assert name in outcome(copy, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_byte_order_mark_does_no_harm(copy, tmp_path, name):
    (copy / name).write_bytes(b"\xef\xbb\xbf" + (copy / name).read_bytes())
    assert outcome(copy, tmp_path) == ""


@pytest.mark.parametrize("name", ("chat_template.jinja", "additional_chat_templates/other.jinja"))
@pytest.mark.parametrize("kind", ("Latin-1", "UTF-16"))
def test_a_template_that_is_not_utf8_is_named(copy, tmp_path, name, kind):
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(TEXTS[kind])
    message = outcome(copy, tmp_path)
    assert name in message
    assert "UTF-8" in message


@pytest.mark.parametrize(
    "card",
    [
        b"---\nlicense: [\n---\n",
        b"---\nname: 5\n---\n",
        b"---\ntags: {a: 1}\nlanguage: 7\n---\n",
        b"---\nlicense: [1, 2]\n---\n",
        b"---\nbase_model: {a: {b: c}}\n---\n",
        b"---\ndatasets: [[1]]\n---\n",
        b"---\n- a\n---\n",
        b"---\n" + b"[" * 5000 + b"\n---\n",
        "---\nauthor: Größe\n---\n".encode("latin-1"),
        b"---\nname: \"\\ud800\"\n---\n",
        b"\xff\xfe\x00",
    ],
)  # fmt: skip
def test_a_model_card_costs_no_conversion(copy, tmp_path, card, capfd):
    (copy / "README.md").write_bytes(card)
    assert outcome(copy, tmp_path) == ""
    assert capfd.readouterr().err == ""
