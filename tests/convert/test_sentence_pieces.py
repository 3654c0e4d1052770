"""SentencePiece vocabularies of Llama checkpoints: the ids of their own libraries, from either file."""

from __future__ import annotations

import io
import json

import pytest
import sentencepiece
from glmq_convert.conversion import convert
from glmq_kernels.errors import GlmqError
from tokenizers import Tokenizer, decoders, models, normalizers

from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints

VOCAB_SIZE, PADDED = 420, 440
TEXTS = (
    "The quick brown fox", "Hello  world", " spaced ", "Größe, naïve café", "東京 🦊", "a\nb\tc", "",
    "thing thing other the", "<s> is text",
)  # fmt: skip


def trained(**options):
    """A small model of byte pairs, serialized."""
    model = io.BytesIO()
    settings = {
        "model_type": "bpe", "vocab_size": VOCAB_SIZE, "byte_fallback": True, "minloglevel": 2,
        "normalization_rule_name": "identity", "remove_extra_whitespaces": False,
    } | options  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in checkpoints.CORPUS for line in text.splitlines() * 3),
        model_writer=model, **settings,
    )  # fmt: skip
    return model.getvalue()


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture
def folder(tmp_path):
    """A checkpoint without a tokenizer."""
    checkpoints.save_checkpoint(tmp_path / "Llama", kind="llama", vocab_size=PADDED, tokenizer=False)
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    (tmp_path / "Llama" / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path / "Llama"


def as_json(model: bytes) -> Tokenizer:
    """What converters to tokenizer.json make of such a model: merges in the order of scores."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = {processor.IdToPiece(i): i for i in range(processor.GetPieceSize())}
    merges = [
        (-processor.GetScore(vocab[whole]), whole[:cut], whole[cut:])
        for whole in vocab
        if not whole.startswith("<")
        for cut in range(1, len(whole))
        if whole[:cut] in vocab and whole[cut:] in vocab
    ]
    pairs = [(first, second) for _, first, second in sorted(merges, key=lambda merge: merge[0])]
    bpe = models.BPE(vocab, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def ids_of_file(folder, out):
    with open_gguf(convert(folder, out / "model.gguf", threads=1)) as file:
        assert file.metadata["tokenizer.ggml.model"] == "llama"
        assert len(file.metadata["tokenizer.ggml.tokens"]) == PADDED
        tokenizer = load_tokenizer(file)
        assert tokenizer.add_bos
        assert file.metadata["tokenizer.ggml.eos_token_id"] == 2
        return [tokenizer.encode(text, special=False) for text in TEXTS]


def test_of_a_tokenizer_model(folder, model, tmp_path):
    (folder / "tokenizer.model").write_bytes(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert ids_of_file(folder, tmp_path) == [processor.EncodeAsIds(text) for text in TEXTS]


def test_of_a_tokenizer_json_made_of_one(folder, model, tmp_path):
    tokenizer = as_json(model)
    tokenizer.save(str(folder / "tokenizer.json"))
    plain = [text for text in TEXTS if "<s>" not in text]
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in plain]
    found = dict(zip(TEXTS, ids_of_file(folder, tmp_path), strict=True))
    assert [found[text] for text in plain] == expected


def test_where_no_space_is_put_before_a_text(folder, tmp_path):
    model = trained(add_dummy_prefix=False)
    (folder / "tokenizer.model").write_bytes(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert ids_of_file(folder, tmp_path) == [processor.EncodeAsIds(text) for text in TEXTS]


def test_tokens_that_were_added(folder, model, tmp_path):
    (folder / "tokenizer.model").write_bytes(model)
    checkpoints.change_config(folder, eos_token_id=2)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {
        "1": {"content": "<s>", "special": True},
        "420": {"content": "<|im_end|>", "special": True},
        "421": {"content": "<tool>", "special": False},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with open_gguf(convert(folder, tmp_path / "model.gguf", threads=1)) as file:
        types = file.metadata["tokenizer.ggml.token_type"].tolist()
        assert types[:3] == [2, 3, 3]
        assert types[420:423] == [3, 4, 5]
        assert load_tokenizer(file).encode("<tool>") == [421]


def test_a_byte_level_tokenizer_json_comes_first(folder, model, tmp_path):
    checkpoints.save_tokenizer(folder)
    (folder / "tokenizer.model").write_bytes(model)
    with open_gguf(convert(folder, tmp_path / "model.gguf", threads=1)) as file:
        assert file.metadata["tokenizer.ggml.model"] == "gpt2"


@pytest.mark.parametrize("content", (b"", b"no model", bytes(100)))
def test_a_damaged_model_is_named(folder, tmp_path, content):
    (folder / "tokenizer.model").write_bytes(content)
    with pytest.raises(GlmqError, match=r"tokenizer\.model is no SentencePiece model"):
        convert(folder, tmp_path / "model.gguf")


def test_a_unigram_model_is_named(folder, tmp_path):
    (folder / "tokenizer.model").write_bytes(trained(model_type="unigram", vocab_size=330))
    with pytest.raises(GlmqError, match="unigram"):
        convert(folder, tmp_path / "model.gguf")


def test_a_model_with_too_many_tokens_is_named(folder, model, tmp_path):
    (folder / "tokenizer.model").write_bytes(trained(vocab_size=450))
    with pytest.raises(GlmqError, match=r"tokenizer\.model: .* token 449"):
        convert(folder, tmp_path / "model.gguf")


def test_without_any_tokenizer_the_file_is_named(folder, tmp_path):
    with pytest.raises(GlmqError, match=r"holds no tokenizer\.json"):
        convert(folder, tmp_path / "model.gguf")


@pytest.mark.parametrize("takes_whole", (True, False))
def test_pieces_of_llama_3_have_their_own_name(folder, tmp_path, takes_whole):
    """Its splits are GLM's; llama.cpp tells them apart."""
    checkpoints.save_tokenizer(folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text().replace("[gMASK]", "<|begin_of_text|>"))
    content["model"]["ignore_merges"] = takes_whole
    path.write_text(json.dumps(content))
    with open_gguf(convert(folder, tmp_path / "model.gguf", threads=1)) as file:
        assert file.metadata["tokenizer.ggml.pre"] == ("llama-bpe" if takes_whole else "chatglm-bpe")
