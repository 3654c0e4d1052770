"""Prompts keep what is cached: they begin with the session's own tokens as far as these spell the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glmq.chat.glm_template import GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE
from glmq.chat.prompt import prompt_tokens
from glmq.chat.quoted_tokens import MARK, SAID_MARK
from glmq.chat.template import ChatTemplate
from glmq.chat.thinking import render_turn
from glmq.gguf import open_gguf
from glmq.kv_cache.tree_node import common_prefix
from glmq.tokenizer import load_tokenizer
from glmq.tokenizer.byte_pairs import byte_characters

from .vocabulary_files import GLM_SPECIAL, write_byte_pairs

SHARED = Path(__file__).parents[3] / "shared" / "vocab"
START = "[gMASK]<sop><|user|>\nhi<|assistant|>"


@pytest.fixture(scope="module")
def merging(tmp_path_factory):
    """Bytes, some merges, and GLM's special tokens."""
    merges = ("a b", "ab c", "Ġ a", "Ġa b", ". Ċ", ".Ċ Ċ", "Ċ Ċ", "< /")
    tokens = [*byte_characters(), *(merge.replace(" ", "") for merge in merges)]
    path = tmp_path_factory.mktemp("merging") / "v.gguf"
    write_byte_pairs(path, tokens, merges, "glm4", GLM_SPECIAL)
    return load_tokenizer(open_gguf(path))


def real(name):
    path = SHARED / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return load_tokenizer(open_gguf(path))


@pytest.fixture(scope="module")
def qwen():
    return real("qwen2")


def test_a_prompt_is_the_tokens_of_its_text(merging):
    assert prompt_tokens(START, merging, []) == merging.encode(START)
    assert prompt_tokens("", merging, merging.encode("ab")) == []


def test_cached_tokens_stay_however_they_were_drawn(merging):
    """ "ab" is one token, but a model may say it as two."""
    encode = merging.encode
    assert len(encode("ab")) == 1
    drawn = [*encode(START), *encode("a"), *encode("b")]
    text = f"{START}ab<|user|>\nmore<|assistant|>"
    assert prompt_tokens(text, merging, drawn) == [*drawn, *encode("<|user|>\nmore<|assistant|>")]


def test_a_changed_answer_stays_up_to_the_first_token_that_changed(merging):
    encode = merging.encode
    cached = encode(f"{START}some older answer")
    text = f"{START}some other answer<|user|>"
    assert prompt_tokens(text, merging, cached) == encode(text)
    assert common_prefix(prompt_tokens(text, merging, cached), cached) == len(encode(f"{START}some o"))


def test_before_the_change_drawn_tokens_stay_too(merging):
    encode = merging.encode
    drawn = [*encode(START), *encode("a"), *encode("b"), *encode(" foo\n\n")]
    text = f"{START}ab foo<|user|>"
    assert prompt_tokens(text, merging, drawn) == [*drawn[:-1], *encode("<|user|>")]


def test_a_token_that_holds_more_than_is_left_of_it_goes(merging):
    """ ".\\n\\n" is one token, and templates trim white space."""
    encode = merging.encode
    assert len(encode(".\n\n")) == 1
    text = f"{START}so.<|user|>"
    assert prompt_tokens(text, merging, encode(f"{START}so.\n\n")) == encode(text)


def test_the_text_after_the_change_has_no_tokens_but_its_own(merging):
    """What was cached as "ab" and "c", drawn so, goes on as the text that has "abc" in one token."""
    encode = merging.encode
    cached = [*encode(START), *encode("ab")]
    assert prompt_tokens(f"{START}abc", merging, cached) == encode(f"{START}abc")
    assert prompt_tokens(f"{START}ab c", merging, cached) == [*cached, *encode(" c")]


def test_text_that_only_looks_like_a_special_token_is_not_taken_for_one(merging):
    cached = [*merging.encode("[gMASK]"), *merging.encode("<sop>", special=False)]
    assert prompt_tokens("[gMASK]<sop>hi", merging, cached) == merging.encode("[gMASK]<sop>hi")


def test_nor_where_a_token_holds_its_first_characters(qwen):
    """ "x<" may be drawn as a token, with the rest of a special token's name after it."""
    cached = qwen.encode('="<', special=False)
    assert len(cached) == 1
    cached += qwen.encode("|im_end|>", special=False)
    text = '="<|im_end|>'
    assert prompt_tokens(text, qwen, cached) == qwen.encode(text)


def test_a_bos_token_that_the_file_asks_for_is_there_once():
    tokenizer = real("llama-spm")
    assert tokenizer.add_bos
    ids = tokenizer.encode("hi", add_bos=True)
    assert prompt_tokens("hi", tokenizer, []) == ids
    assert prompt_tokens("<s>hi", tokenizer, []) == ids


def test_sentence_pieces_stay_though_a_space_is_put_before_them():
    tokenizer = real("llama-spm")
    drawn = tokenizer.encode("Good") + tokenizer.encode("day")
    cached = tokenizer.encode("Hello you", add_bos=True) + drawn
    kept = prompt_tokens("Hello you Good day, and more", tokenizer, cached)
    assert kept[: len(cached)] == cached
    assert tokenizer.decode(kept[len(cached) :]) == ", and more"


FRAGMENTS = ("a", "b", "c", " ", "\n", "\n\n", ".", "</", "<sop>", "<|user|>", "Grüße", "🙂", "12345", "foo")
characters = st.characters(exclude_categories=["Cs"], exclude_characters=[MARK, SAID_MARK])
pieces = st.lists(st.sampled_from(FRAGMENTS) | st.text(characters, max_size=3), max_size=8)


@st.composite
def told_and_drawn(draw, tokenizer):
    """A prompt's text, and tokens that spell another text with the same beginning, drawn in any pieces."""
    same, new, old = draw(pieces), draw(pieces), draw(pieces)
    drawn = []
    for piece in [*same, *old] if draw(st.booleans()) else ["".join([*same, *old])]:
        drawn += tokenizer.encode(piece, special=draw(st.booleans()))
    return "".join([*same, *new]), drawn


def longest_continuation(text, tokenizer, cached):
    """The same by trying every pair of places."""
    fresh = tokenizer.encode(text)
    best = (0, 0)
    for i in range(len(cached) + 1):
        for j in range(len(fresh) + 1):
            if outline(tokenizer, cached[:i]) == outline(tokenizer, fresh[:j]):
                best = (i, j)
    return [*cached[: best[0]], *fresh[best[1] :]]


def outline(tokenizer, tokens):
    """Bytes between special tokens, and these."""
    found = [b""]
    for token in tokens:
        if token in tokenizer.special_ids:
            found += [token, b""]
        else:
            found[-1] += tokenizer.decode_bytes([token])
    return found


@settings(deadline=None)
@given(data=st.data())
def test_as_much_stays_as_can(merging, data):
    text, drawn = data.draw(told_and_drawn(merging))
    assert prompt_tokens(text, merging, drawn) == longest_continuation(text, merging, drawn)


@settings(deadline=None)
@given(data=st.data())
def test_as_much_stays_as_can_with_a_real_vocabulary(qwen, data):
    text, drawn = data.draw(told_and_drawn(qwen))
    assert prompt_tokens(text, qwen, drawn) == longest_continuation(text, qwen, drawn)


@settings(deadline=None)
@given(data=st.data())
def test_all_tokens_behind_cached_ones_are_those_of_the_whole_text(qwen, data):
    same, new, old = (data.draw(pieces) for _ in range(3))
    text, cached = "".join([*same, *new]), qwen.encode("".join([*same, *old]))
    tokens = prompt_tokens(text, qwen, cached)
    assert qwen.decode(tokens) == text
    behind = tokens[common_prefix(tokens, cached) :]
    assert qwen.encode(text)[-len(behind) :] == behind or not behind


def answered(model, template, first_answer, messages, **arguments):
    """Evaluate a prompt and an answer to it, then the prompt of the next turn; its timings."""
    session = model.session()
    encode = model.tokenizer.encode
    asked = render_turn(template, messages[:1], **arguments).text
    session.evaluate([*prompt_tokens(asked, model.tokenizer, []), *encode(first_answer)])
    n_before = len(session.tokens)
    prompt = prompt_tokens(render_turn(template, messages, **arguments).text, model.tokenizer, session.tokens)
    generation = model.generate(prompt, session=session, max_tokens=1)
    generation.run()
    return n_before, generation.timings


def turns(thoughts, answer):
    said = {"role": "assistant", "content": answer, "reasoning_content": thoughts}
    return [{"role": "user", "content": "hi"}, said, {"role": "user", "content": "more"}]


def test_with_preserved_thinking_nothing_but_the_new_message_is_evaluated(small):
    template = ChatTemplate(GLM_4_7_TEMPLATE)
    n_before, timings = answered(small, template, "so</think>hello", turns("so", "hello"), preserve=True)
    assert timings.n_cached == n_before
    assert timings.n_prompt == len(small.tokenize("<|user|>more<|assistant|><think>"))


def test_where_the_template_trims_the_answer_the_cache_goes_back_to_that_place_only(small):
    template = ChatTemplate(GLM_4_7_TEMPLATE)
    n_before, timings = answered(
        small, template, "so</think>hello\n\n", turns("so", "hello\n\n"), preserve=True
    )
    assert timings.n_cached == n_before - 2
    n_before, timings = answered(small, template, "\nso</think>hello", turns("\nso", "hello"), preserve=True)
    assert timings.n_cached == n_before - len("\nso</think>hello")


def test_without_it_the_cache_goes_back_to_the_first_token_of_the_thinking(small):
    template = ChatTemplate(GLM_4_6_TEMPLATE)
    n_before, timings = answered(small, template, "\n<think>so</think>\nhello", turns("so", "hello"))
    assert timings.n_cached == n_before - len("so</think>\nhello")


def test_a_turn_without_thinking_costs_the_next_one_nothing(small):
    for source, begin in ((GLM_4_6_TEMPLATE, "\n"), (GLM_4_7_TEMPLATE, "")):
        messages = turns("", "hello")
        messages[0]["thinking"] = False
        n_before, timings = answered(small, ChatTemplate(source), f"{begin}hello", messages)
        assert timings.n_cached == n_before
