"""Whatever a model says under a constraint fits it, whatever its vocabulary."""

from __future__ import annotations

import gc
import json
import re
import weakref

import jsonschema
import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glmq.constraint import grammar_constraint, json_schema_constraint, regex_constraint
from glmq.constraint.token_table import llguidance_tokenizer
from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer

from .guided_output import allowed, guided_output, real_vocabularies, small_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["new", "old", "ä"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
LARK = 'start: item ("," item)*\nitem: "(" item ")" | NUMBER\nNUMBER: /[0-9]{1,3}/'
GBNF = 'root ::= item ("," item)*\nitem ::= "(" item ")" | number\nnumber ::= [0-9]{1,3}'


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return small_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def schemas():
    """JSON schemas whose values are never long."""
    leaves = st.one_of(
        st.just({"type": "boolean"}),
        st.just({"type": "null"}),
        st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 5)),
        st.builds(
            lambda a, n: {"type": "integer", "minimum": a, "maximum": a + n}, *2 * [st.integers(0, 999)]
        ),
        st.builds(
            lambda values: {"enum": values},
            st.lists(st.integers(-99, 10**6) | st.text(max_size=4), min_size=1),
        ),
    )

    def nested(inner):
        objects = st.builds(
            lambda properties, n: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[:n],
                "additionalProperties": False,
            },
            st.dictionaries(st.text('abcdé"\\', max_size=3), inner, max_size=3),
            st.integers(0, 3),
        )
        arrays = st.builds(lambda items: {"type": "array", "items": items, "maxItems": 2}, inner)
        return objects | arrays | st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner)

    return st.recursive(leaves, nested, max_leaves=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schema=schemas(), seed=st.integers(0, 99))
def test_json_fits_its_schema(tokenizer, schema, seed):
    guide = json_schema_constraint(schema).guide(tokenizer)
    tokens, ended = guided_output(guide, tokenizer, seed, max_tokens=2000)
    assert ended
    jsonschema.validate(json.loads(tokenizer.decode_bytes(tokens)), schema)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "regex",
    [
        r"[a-f]{3,5}-\d\d",
        "(yes|no|päh)!?",
        r"[a-zé]+@[\w-]{1,9}\.(com|org)",
        "a/b\nc",
        "^x{2}$",
        r'\{"a": "\\/"\}',
    ],
)
def test_text_matches_its_regular_expression(tokenizer, regex, seed):
    tokens, ended = guided_output(regex_constraint(regex).guide(tokenizer), tokenizer, seed, max_tokens=5000)
    assert ended
    assert re.fullmatch(regex, tokenizer.decode(tokens))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("grammar", [LARK, GBNF], ids=["Lark", "GBNF"])
def test_text_is_of_its_grammar(tokenizer, grammar, seed):
    tokens, _ = guided_output(grammar_constraint(grammar).guide(tokenizer), tokenizer, seed, max_tokens=60)
    text = tokenizer.decode(tokens)
    parts = re.fullmatch(r"(?:\(*[0-9]{1,3}\)*,)*\(*[0-9]{0,3}\)*", text)
    assert parts, text
    for item in text.split(",")[:-1]:
        assert item.count("(") == item.count(")")


@settings(max_examples=60, deadline=None)
@given(
    words=st.sets(st.text('abcn\u00e9{"', min_size=1, max_size=5), min_size=1, max_size=6),
    seed=st.integers(0, 9),
)
def test_the_mask_is_that_of_trying_every_token(tokenizer, words, seed):
    guide = json_constraint_of(words).guide(tokenizer)
    data = [word.encode() for word in words]
    said = b""
    for token in guided_output(json_constraint_of(words).guide(tokenizer), tokenizer, seed)[0]:
        found = allowed(guide, tokenizer.n_vocab)
        tried = {
            each
            for each in range(tokenizer.n_vocab)
            if each not in tokenizer.special_ids
            and any(word.startswith(said + tokenizer.decode_bytes([each])) for word in data)
        }
        tried |= tokenizer.eog_ids if said in data else set()
        assert found == tried
        assert set(guide.forced()[:1]) <= found
        guide.accept(token)
        said += tokenizer.decode_bytes([token])
    assert said in data


def json_constraint_of(words):
    return grammar_constraint("start: " + " | ".join(json.dumps(word, ensure_ascii=False) for word in words))


def test_an_end_of_generation_may_come_exactly_where_the_text_may_end(tokenizer):
    guide = regex_constraint("(ab)+").guide(tokenizer)
    assert not allowed(guide, tokenizer.n_vocab) & tokenizer.eog_ids
    for token, may_end in zip(tokenizer.encode("abab"), (False, True, False, True), strict=True):
        guide.accept(token)
        assert tokenizer.eog_ids.issubset(allowed(guide, tokenizer.n_vocab)) == may_end


def test_special_tokens_are_no_text(tokenizer):
    guide = regex_constraint("(?s:.*)").guide(tokenizer)
    assert allowed(guide, tokenizer.n_vocab) & tokenizer.special_ids == tokenizer.eog_ids


def test_unused_tokens_and_logits_beyond_the_vocabulary_never_come(small):
    guide = regex_constraint("(?s:.*)").guide(small.tokenizer)
    assert small.tokenizer.token_id("[PAD0]") not in allowed(guide, small.n_vocab + 5)
    assert max(allowed(guide, small.n_vocab + 5)) < small.n_vocab


@real_vocabularies
def test_real_vocabularies(path):
    tokenizer = load_tokenizer(open_gguf(path))
    constraint = json_schema_constraint(SCHEMA)
    for seed in range(3):
        tokens, ended = guided_output(constraint.guide(tokenizer), tokenizer, seed)
        assert ended
        jsonschema.validate(json.loads(tokenizer.decode_bytes(tokens)), SCHEMA)
        one_by_one, _ = guided_output(constraint.guide(tokenizer), tokenizer, seed, fast_forward=False)
        jsonschema.validate(json.loads(tokenizer.decode_bytes(one_by_one)), SCHEMA)


@real_vocabularies
def test_forced_text_is_cut_as_the_tokenizer_cuts_it(path):
    tokenizer = load_tokenizer(open_gguf(path))
    text = '{"first name": "Grüße aus Köln", "n": [1, 2]}'
    guide = regex_constraint(re.escape(text)).guide(tokenizer)
    assert list(guide.forced()) == tokenizer.encode(text, after_text=True)


@settings(max_examples=40, deadline=None)
@given(schema=schemas(), seed=st.integers(0, 99))
def test_forced_tokens_are_allowed_one_by_one(tokenizer, schema, seed):
    guide = json_schema_constraint(schema).guide(tokenizer)
    tokens, ended = guided_output(json_schema_constraint(schema).guide(tokenizer), tokenizer, seed, 2000)
    assert ended
    forced = []
    for token in tokens:
        found = allowed(guide, tokenizer.n_vocab)
        assert token in found
        if not forced:
            forced = list(guide.forced())
        if forced:
            assert forced.pop(0) == token
        guide.accept(token)


def test_one_constraint_serves_many_generations(tokenizer):
    constraint = regex_constraint("ab?")
    first, second = constraint.guide(tokenizer), constraint.guide(tokenizer)
    first.accept(tokenizer.token_id("ab"))
    assert first.finished
    assert not second.finished


def test_white_space_in_json_ends(tokenizer):
    guide = json_schema_constraint({"type": "array"}).guide(tokenizer)
    start, line_end, space = (tokenizer.encode(text)[0] for text in "[\n ")
    for token in (start, line_end, *[space] * 40):
        assert token in allowed(guide, tokenizer.n_vocab)
        guide.accept(token)
    assert not {space, line_end} & set(allowed(guide, tokenizer.n_vocab))


def test_the_vocabulary_is_prepared_once_and_goes_with_the_tokenizer(tmp_path):
    tokenizer = small_tokenizer(tmp_path)
    assert llguidance_tokenizer(tokenizer) is llguidance_tokenizer(tokenizer)
    gone = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("make", "text", "message"),
    [
        (json_schema_constraint, "{", "the JSON schema is refused: it is not JSON: Expecting"),
        (json_schema_constraint, "[]", "it must be an object"),
        (json_schema_constraint, {"type": "nope"}, "the JSON schema is refused: Invalid type: nope"),
        (json_schema_constraint, {"type": "string", "format": "foo"}, "Unknown format: foo"),
        (json_schema_constraint, {"enum": [10**30]}, "the JSON schema is refused: .*1000"),
        (json_schema_constraint, {"$ref": "#/nowhere"}, "the JSON schema is refused: "),
        (grammar_constraint, "start: foo", 'the grammar is refused, line 1, column 8: unknown name: "foo"'),
        (grammar_constraint, "start: (", r"the grammar is refused, line 1, column 9: Expected token"),
        (
            grammar_constraint,
            "root ::= foo",
            "the GBNF grammar is refused, line 1, column 10: there is no rule foo",
        ),
        (
            grammar_constraint,
            'item ::= "a"',
            "the GBNF grammar is refused, line 1, column 1: there is no rule root",
        ),
        (
            json_schema_constraint,
            {"properties": {"a": {"items": {"format": "foo"}}}},
            "refused, at /properties/a/items: Unknown format: foo",
        ),
        (json_schema_constraint, {"anyOf": [{}, {"not": {}}]}, "refused, at /anyOf/1: these keywords"),
        (json_schema_constraint, '{"items":' * 3000 + "{}" + "}" * 3000, "nested too deeply"),
        (grammar_constraint, " ", "the grammar is refused: it is empty"),
        (
            grammar_constraint,
            "start: A\nA: /x(?=a)/",
            r"line 2, column 4: in the expression x\(\?=a\): look-around",
        ),
        (regex_constraint, "(", "the regular expression is refused, column 1: unclosed group"),
        (regex_constraint, "(?=a)b", "the regular expression is refused, column 1: look-around"),
        (regex_constraint, "a/b\n(?=c)", "the regular expression is refused, column 5: look-around"),
        (regex_constraint, "é[z-a]", "the regular expression is refused, column 3: invalid character class"),
    ],
)
def test_refusals_say_why_in_one_line(make, text, message):
    with pytest.raises(GlmqError, match=message) as refusal:
        make(text)
    assert "\n" not in str(refusal.value)


def test_a_grammar_that_names_a_missing_token_is_refused_for_that_vocabulary(tokenizer):
    constraint = grammar_constraint("start: <|nothing|>")
    with pytest.raises(GlmqError, match=r"the grammar is refused: .*<\|nothing\|>") as refusal:
        constraint.guide(tokenizer)
    assert "\n" not in str(refusal.value)


def test_a_vocabulary_without_the_tokens_is_told(tmp_path):
    from .vocabulary_files import write_byte_pairs

    write_byte_pairs(tmp_path / "v.gguf", ["a", "c"], [], "glm4", ["<|endoftext|>"], eos=2)
    tokenizer = load_tokenizer(open_gguf(tmp_path / "v.gguf"))
    guide = regex_constraint("a(b|d)").guide(tokenizer)
    guide.accept(0)
    with pytest.raises(GlmqError, match="cannot be followed further"):
        allowed(guide, 3)


def test_a_token_that_is_not_allowed_is_refused(tokenizer):
    guide = regex_constraint("ab").guide(tokenizer)
    with pytest.raises(GlmqError, match='cannot be followed further: the token "z" does not fit') as refusal:
        guide.accept(tokenizer.encode("z")[0])
    assert "\n" not in str(refusal.value)


def test_half_characters_and_numbers_that_are_too_large_are_refused_in_a_line():
    for make, value in (
        (regex_constraint, "a\udcff"),
        (json_schema_constraint, '{"const": "\udcff"}'),
        (grammar_constraint, 'start: "\udcff"'),
    ):
        with pytest.raises(GlmqError, match="line 1, column .*: half a character"):
            make(value)
    with pytest.raises(GlmqError, match=f"{2**70} is no JSON value, or a number of more than 64 bits"):
        json_schema_constraint({"type": "string", "minLength": 2**70})


def test_a_byte_order_mark_before_a_schema_does_no_harm():
    assert json_schema_constraint('\ufeff{"type": "null"}') == json_schema_constraint({"type": "null"})
