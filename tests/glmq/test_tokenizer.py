"""Tokenizers give the ids that llama.cpp gives, and text back from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import given
from hypothesis import strategies as st

from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer
from glmq.tokenizer.byte_pairs import LONG_TEXT, byte_characters

from .vocabulary_files import GLM_SPECIAL, write_byte_pairs

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "tokenizer.json").read_text())
SHARED = Path(__file__).parents[3] / "shared" / "vocab"


def golden_tokenizer(folder, pre):
    write_byte_pairs(folder / "v.gguf", GOLDEN["tokens"], GOLDEN["merges"], pre, GOLDEN["special"])
    return load_tokenizer(open_gguf(folder / "v.gguf"))


@pytest.fixture(scope="module")
def glm(tmp_path_factory):
    """GLM's special tokens behind the 256 bytes."""
    path = tmp_path_factory.mktemp("glm") / "v.gguf"
    write_byte_pairs(path, byte_characters(), [], "glm4", GLM_SPECIAL, eos=256, bos=257)
    return load_tokenizer(open_gguf(path))


def test_long_texts_are_encoded_as_short_ones_are(tmp_path):
    tokenizer = golden_tokenizer(tmp_path, "glm4")
    word = " the quick brown fox"
    n = LONG_TEXT // len(word) + 1
    assert tokenizer.encode(word * n) == tokenizer.encode(word) * n


@pytest.mark.parametrize("group", GOLDEN["ids"], ids=lambda group: group["names"][0])
def test_ids_are_those_of_llama_cpp_for_every_pre_tokenizer(tmp_path, group):
    for name in group["names"]:
        tokenizer = golden_tokenizer(tmp_path, name)
        for text, (plain, parsed) in zip(GOLDEN["texts"], group["ids"], strict=True):
            assert tokenizer.encode(text, special=False) == plain, (name, text)
            assert tokenizer.encode(text) == parsed, (name, text)


@pytest.mark.parametrize("name", ("gpt-2", "llama-bpe", "llama-spm", "qwen2"))
def test_ids_of_real_vocabularies(name):
    path = SHARED / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    tokenizer = load_tokenizer(open_gguf(path))
    texts = Path(f"{path}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    lines = Path(f"{path}.out").read_text().splitlines()
    assert len(lines) > 40
    for text, line in zip(texts, lines, strict=False):
        ids = [int(token) for token in line.split()]
        assert tokenizer.encode(text, special=False) == ids
        assert tokenizer.decode(ids) == text


def test_a_missing_name_of_the_pre_tokenizer_means_default(tmp_path):
    with_name = golden_tokenizer(tmp_path, "default")
    without = golden_tokenizer(tmp_path, None)
    for text in GOLDEN["texts"]:
        assert with_name.encode(text) == without.encode(text)


def test_special_tokens_are_parsed_on_request_only(glm):
    assert glm.encode("[gMASK]<sop>") == [257, 258]
    assert glm.encode("[gMASK]", special=False) == [byte_characters().index(c) for c in "[gMASK]"]


def test_bos_is_added_on_request_only(glm):
    assert glm.encode("a", add_bos=True) == [257, *glm.encode("a")]
    assert not glm.add_bos


def test_glm_generations_end_at_its_three_tokens(glm):
    assert [glm.token_text(token) for token in sorted(glm.eog_ids)] == [
        "<|endoftext|>",
        "<|user|>",
        "<|observation|>",
    ]


def test_special_tokens_are_shown_or_hidden(glm):
    ids = glm.encode("<|user|>hi<|assistant|>")
    assert glm.decode(ids) == "<|user|>hi<|assistant|>"
    assert glm.decode(ids, special=False) == "hi"


@given(st.text())
def test_any_text_comes_back(glm, text):
    expected = text.encode("utf-8", "replace").decode()
    assert glm.decode(glm.encode(text, special=False)) == expected


@given(st.text())
def test_streamed_text_is_whole_characters_at_every_step(glm, text):
    stream = glm.stream()
    pieces = [stream.push(token) for token in glm.encode(text, special=False)] + [stream.flush()]
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_are_no_text_are_replaced_not_kept_forever(glm):
    stream = glm.stream()
    broken = [glm.encode("é", special=False)[0], *glm.encode("ab", special=False)]
    assert "".join(stream.push(token) for token in broken) + stream.flush() == "\ufffdab"


def test_a_token_outside_the_vocabulary_is_refused(glm):
    with pytest.raises(GlmqError, match="not in the vocabulary"):
        glm.decode([1 << 20])


def test_an_unknown_pre_tokenizer_is_refused_by_name(tmp_path):
    with pytest.raises(GlmqError, match="'martian'"):
        golden_tokenizer(tmp_path, "martian")


def test_a_merge_of_unknown_tokens_is_left_out(tmp_path):
    write_byte_pairs(tmp_path / "v.gguf", [*byte_characters(), "ab"], ["a b", "ab c"], "glm4")
    tokenizer = load_tokenizer(open_gguf(tmp_path / "v.gguf"))
    assert tokenizer.encode("abc") == [256, byte_characters().index("c")]


def test_a_merge_that_is_not_two_tokens_is_refused(tmp_path):
    write_byte_pairs(tmp_path / "v.gguf", byte_characters(), ["ab"], "glm4")
    with pytest.raises(GlmqError, match="merges"):
        load_tokenizer(open_gguf(tmp_path / "v.gguf"))


def write_sentence_pieces(path, n_scores=None):
    import gguf

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "ab", "▁ab"]
    types = [2, 3, 3, *([6] * 256), 1, 1, 1, 1, 1]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_types(types)
    scores = np.arange(len(pieces), dtype=np.float32)[:n_scores]
    writer.add_token_scores(scores.tolist())
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return open_gguf(path)


def test_sentence_pieces_start_with_a_space_and_fall_back_to_bytes(tmp_path):
    tokenizer = load_tokenizer(write_sentence_pieces(tmp_path / "v.gguf"))
    texts = [tokenizer.token_text(token) for token in tokenizer.encode("abé</s>ab", add_bos=True)]
    assert texts == ["<s>", " ab", "\ufffd", "\ufffd", "</s>", " ab"]
    assert tokenizer.decode(tokenizer.encode("abé ab")) == "abé ab"
    assert tokenizer.add_bos
    assert tokenizer.eog_ids == {2}


def test_sentence_pieces_without_their_scores_are_refused(tmp_path):
    with pytest.raises(GlmqError, match="scores"):
        load_tokenizer(write_sentence_pieces(tmp_path / "v.gguf", n_scores=5))


class TestWholePieces:
    """A piece of text that is itself a token, but that merges do not lead to."""

    def ids(self, tmp_path, pre):
        tokens = [*byte_characters(), "bc", "abc"]
        write_byte_pairs(tmp_path / "v.gguf", tokens, ["b c"], pre)
        return load_tokenizer(open_gguf(tmp_path / "v.gguf")).encode("abc")

    @pytest.mark.parametrize(
        "pre",
        ("glm4", "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
         "jina-v5-nano", "tekken"),
    )  # fmt: skip
    def test_is_one_token_where_merges_are_ignored(self, tmp_path, pre):
        assert self.ids(tmp_path, pre) == [257]

    @pytest.mark.parametrize("pre", ("chatglm-bpe", "dbrx", "smaug-bpe", "qwen2", "gpt-2", "gpt-4o"))
    def test_is_what_merges_make_of_it_elsewhere(self, tmp_path, pre):
        assert self.ids(tmp_path, pre) == [byte_characters().index("a"), 256]


class TestEnds:
    """Tokens that end a generation, by key, by text and by the kind of model."""

    def ends(self, tmp_path, *texts, pre="llama-bpe", architecture="llama", types=None, **keys):
        import gguf

        writer = gguf.GGUFWriter(tmp_path / "v.gguf", architecture)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list([*byte_characters(), *texts])
        if types is not None:
            writer.add_token_types([1] * 256 + types)
        for key, value in keys.items():
            add = writer.add_array if isinstance(value, list) else writer.add_uint32
            add(f"tokenizer.ggml.{key}", value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        tokenizer = load_tokenizer(open_gguf(tmp_path / "v.gguf"))
        return {tokenizer.token_text(token) for token in tokenizer.eog_ids}

    @pytest.mark.parametrize("key", ("eos_token_id", "eot_token_id", "eom_token_id", "eos_token_ids"))
    @pytest.mark.parametrize("value", (257, [257]))
    def test_every_key_of_an_end_is_read(self, tmp_path, key, value):
        assert self.ends(tmp_path, "x1", "x2", types=[3, 3], **{key: value}) == {"x2"}

    def test_an_array_of_ends(self, tmp_path):
        found = self.ends(tmp_path, "x1", "x2", "x3", types=[3, 3, 3], eos_token_id=256, eos_token_ids=[257])
        assert found == {"x1", "x2"}

    @pytest.mark.parametrize("types", ([3, 3, 3], [1, 1, 1], [4, 4, 4], None))
    def test_glm_files_end_at_their_three_whatever_the_keys_say(self, tmp_path, types):
        texts = ("<|endoftext|>", "<|user|>", "<|observation|>")
        found = self.ends(tmp_path, *texts, architecture="glm4moe", types=types, eos_token_id=256)
        assert found == set(texts)
        found = self.ends(tmp_path, *texts, pre="glm4", types=types)
        assert found == set(texts)

    def test_the_users_turn_ends_nothing_in_other_models(self, tmp_path):
        assert self.ends(tmp_path, "<|user|>", "<|end|>", types=[3, 3]) == {"<|end|>"}

    @pytest.mark.parametrize("text", ("<|eot_id|>", "<|im_end|>", "</s>", "<|calls|>", "<|fim_pad|>", "[e~["))
    def test_special_tokens_that_end_everywhere(self, tmp_path, text):
        assert self.ends(tmp_path, text, types=[3]) == {text}
        assert self.ends(tmp_path, text) == {text}
        assert self.ends(tmp_path, text, types=[1]) == set()

    @pytest.mark.parametrize("others", (["<|return|>", "<|call|>"], ["<|flush|>", "<|calls|>"]))
    def test_where_parts_of_an_answer_end_too_the_answer_goes_on(self, tmp_path, others):
        assert self.ends(tmp_path, "<|end|>", *others, types=[3, 3, 3]) == set(others)

    def test_ids_past_the_vocabulary_are_none(self, tmp_path):
        assert self.ends(tmp_path, "x", types=[3], eos_token_id=999, eos_token_ids=[999, 256]) == {"x"}
