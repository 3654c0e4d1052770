"""GBNF means here what it means in llama.cpp: the same texts, and the same ends."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glmq.constraint import grammar_constraint

from .gbnf_reference import Reference, grammar_text, grammars
from .guided_output import allowed, small_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return small_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def may_say(tokenizer, grammar, text):
    """(whether a text may begin an output, byte after byte, whether the output may end there)."""
    guide = grammar_constraint(grammar).guide(tokenizer)
    for byte in text.encode():
        (token,) = [t for t in range(256) if tokenizer.decode_bytes([t]) == bytes([byte])]
        if token not in allowed(guide, tokenizer.n_vocab):
            return False, False
        guide.accept(token)
    return True, tokenizer.eog_ids <= allowed(guide, tokenizer.n_vocab)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rules=grammars(), data=st.data())
def test_the_mask_is_that_of_the_reference(tokenizer, rules, data):
    reference, text = Reference(rules), grammar_text(rules)
    if not reference.ends:
        with pytest.raises(GlmqError, match="never ends"):
            grammar_constraint(text)
        return
    guide = grammar_constraint(text).guide(tokenizer)
    state = reference.begin()
    said = b""
    for _ in range(6):
        expected = {
            token
            for token in range(tokenizer.n_vocab)
            if token not in tokenizer.special_ids
            and token not in tokenizer.unused_ids
            and reference.may_follow(state, said + tokenizer.decode_bytes([token]))
        }
        if not said and reference.may_end(state):
            expected |= tokenizer.eog_ids
        if guide.finished:
            assert expected <= tokenizer.eog_ids
            break
        forced = tokenizer.decode_bytes(guide.forced())
        for text in (tokenizer.decode_bytes([each]) for each in expected if forced):
            assert text.startswith(forced) or forced.startswith(text)
        assert allowed(guide, tokenizer.n_vocab) == expected
        token = data.draw(st.sampled_from(sorted(expected)))
        if token in tokenizer.eog_ids:
            break
        guide.accept(token)
        said += tokenizer.decode_bytes([token])
        for character in (whole := said.decode(errors="ignore")):
            state = reference.read(state, character)
        said = said[len(whole.encode()) :]


PITFALLS = [
    ('root ::= word "end"\nword ::= [a-z]+', ["abend", "endend"], ["end"], ["ab1"]),
    ('root ::= "a" ws "\\n"\nws ::= [ \\t\\n]*', ["a\n", "a \n\t\n\n"], ["a", "a "], ["\n", "ab"]),
    ('root ::= [1-9] [0-9] | "100"', ["10", "99", "100"], ["1", "9"], ["01", "101", "1000", "990"]),
    ('root ::= dashes "--|"\ndashes ::= "-"+', ["---|", "-----|"], ["-", "---"], ["|", "--|"]),
    ("\ufeffroot ::= [0-9]", ["1"], [""], ["a"]),
    ('# one\rroot ::= a |\r "b"\ra ::= "x"\r', ["x", "b"], [""], ["y"]),
    ('root ::= # one\r\n ( # two\r\n "a" )\r\n', ["a"], [""], ["b"]),
    ('root ::= start "-" 9-a\nstart ::= ""\n9-a ::= "#" | ', ["-", "-#"], [""], ["#"]),
    ("root ::= ([x]*)*", ["", "x", "xxx"], [], ["y"]),
    ("root ::= ([0-9]+)?", ["", "1", "12"], [], ["a"]),
    ("root ::= [a\\-c]", ["a", "-", "c"], [""], ["b"]),
    ("root ::= [-a] [b-] [+--]", ["-b+", "a--", "-b,"], [""], ["b", "-c", "aba"]),
    ("root ::= [\\]\\[^]+", ["]", "[^]"], [""], ["a"]),
    ('root ::= "\\u00e9" "\\xe9" "\\U0001F600" "\\x41"', ["éé😀A"], ["é"], ["e", "éa"]),
    ("root ::= . .", ["\n\n", "a日", "\r\x00"], ["", "\n"], ["\n\n\n"]),
    ("root ::= [^a]", ["\n", "日"], [""], ["a"]),
    ('root ::= "a"{2} "b"{1,2} "c"{2,} "d"{0} "e"{0,1}', ["aabcc", "aabbccccce"], ["aabc"], ["ab", "aabccd"]),
    ('root ::= (\n  "a" # one\n  "b"\n) |\n  "c"\n\n# the end\n', ["ab", "c"], ["", "a"], ["b", "ac"]),
    ('root ::= | "a"', ["", "a"], [], ["b"]),
    ('root ::= "" | ("")* "a"', ["", "a"], [], ["aa"]),
    ('root ::= root "a" | "b"', ["b", "baa"], [""], ["a", "bb"]),
    ('root ::= "a" root | "b"', ["b", "aab"], ["", "aa"], ["ba"]),
    ('root ::= "(" root ")" | root root | ""', ["", "()", "(())()"], ["(", "(()"], [")"]),
    ('root ::= "a" root "a" | "a"', ["a", "aaa"], ["aa"], ["b"]),
    ('root ::= "if" | "ifelse" | [a-z]+ "!"', ["if", "ifelse", "if!", "ifel!"], ["i", "ifel"], ["!"]),
    ('root ::= "<" | "<=" "x" | "<" "=" "y"', ["<", "<=x", "<=y"], ["<="], ["=", "<x"]),
    ('root ::= ("é" | "è")+ "ê"', ["éê", "éèéê"], ["é"], ["ê"]),
    ("ROOT-1 ::= [a]\nroot::=ROOT-1 x_y\r\nx_y ::= \"b\"\r\n", ["ab"], ["a"], ["b"]),
    ('root ::= "a"*?', ["", "aa"], [], ["b"]),
    ('root ::= x{0,2000} "."\nx ::= [a-z]', [".", "ab."], ["ab"], ["A"]),
]  # fmt: skip


@pytest.mark.parametrize(("grammar", "texts", "beginnings", "others"), PITFALLS, ids=[p[0] for p in PITFALLS])
def test_pitfalls(tokenizer, grammar, texts, beginnings, others):
    for text in texts:
        assert may_say(tokenizer, grammar, text) == (True, True), text
    for text in beginnings:
        assert may_say(tokenizer, grammar, text) == (True, False), text
    for text in others:
        assert may_say(tokenizer, grammar, text) == (False, False), text


ARITHMETIC = r"""
# sums and products, each line an equation
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (
    string ":" ws value ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9]{1,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""
LIST = r"""
root ::= item+
item ::= "- " [^\r\n\x0b\x0c\x85\u2028\u2029]+ "\n"
"""
CHESS = r"""
root    ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
move    ::= (pawn | nonpawn | castle) [+#]?
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn    ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle  ::= "O-O" "-O"?
"""
JAPANESE = "root ::= jp+ ([ \\t\\n] jp+)*\njp ::= [ぁ-ゟ] | [ァ-ヿ] | [、-〾] | [一-鿿]\n"
PROGRAM = r"""
root ::= (declaration)*
declaration ::= type name "(" parameter? ")" "{" statement* "}"
type ::= "int" ws | "char" ws
name ::= [a-zA-Z_] [a-zA-Z_0-9]*
parameter ::= type name
statement ::=
    ( type name ws "=" ws expression ";" ) |
    ( name ws "=" ws expression ";" ) |
    ( "return" ws expression ";" ) |
    ( "/*" ( [^*] | ("*" [^/]) )* "*/" )
expression ::= term (("+" | "-") term)*
term ::= name | [0-9]+ | "-" term | "(" ws expression ws ")"
ws ::= ([ \t\n]+)
"""


@pytest.mark.parametrize(
    ("grammar", "text", "ends"),
    [
        (ARITHMETIC, "x1=1\na +( b*2)=c \n", True),
        (ARITHMETIC, "x1=1 \n\t\n", True),
        (ARITHMETIC, "x1=1 \n\ny", False),
        (JSON, '{"a": [1, -2.5e7, "\\u00e9 né"], "b":{}}\n  ', True),
        (JSON, '{"a": tr', False),
        (LIST, "- one, two\n- 日本\n", True),
        (CHESS, "1. e4 e5\n2. Nf3 Nc6\n3. O-O-O exd8=Q#\n", True),
        (JAPANESE, "日本 ごカ、", True),
        (PROGRAM, "int main(char c){return  1+x;/* a * b **/int x = -(  2  );returns =1;}", False),
        (PROGRAM, "int main(){returns = 1;", False),
        (PROGRAM, "int main(char c){return  1+x;/* a * b */int x = -( 2 );returns = 1;}", True),
    ],
)
def test_well_known_grammars(tokenizer, grammar, text, ends):
    assert may_say(tokenizer, grammar, text) == (True, ends)


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("root ::= [a", "line 1, column 10: this [ has no ]"),
        ('root ::= "a\\n', "line 1, column 10: this string has no end"),
        ('root ::= ("a"', "line 1, column 10: this ( has no )"),
        ('root ::= "a")', "line 1, column 13: this ) has no ("),
        ("root ::= [z-a]", "line 1, column 11: z-a goes backwards"),
        ("root ::= []", "line 1, column 10: a class without characters"),
        ("root ::= [^\\x00-\\U0010FFFF]", "line 1, column 10: no character fits this class"),
        ('root ::= "\\q"', "line 1, column 11: \\q is no escape"),
        ('root ::= "\\x4"', "line 1, column 11: \\x needs 2 hexadecimal digits"),
        ('root ::= "\\ud83d"', "line 1, column 11: U+D83D is half of a character"),
        ("root ::= *", "line 1, column 10: * repeats what is before it"),
        ('root ::= "a"{3,2}', "line 1, column 13: {3,2} asks for more at least than at most"),
        ('root ::= "a"{9999999}', "line 1, column 13: more than 1000000 repetitions"),
        ('root ::= "a"\n| "b"', "line 2, column 1: a line cannot begin with |"),
        ('root ::= "a"\n\nroot ::= "b"', "line 3, column 1: the rule root is there twice"),
        ('root ::= "a"\n# one\nx ::= "é" y', "line 3, column 11: there is no rule y"),
        ("root ::= one\none ::= two\ntwo ::= one", "line 2, column 1: the rule one never ends"),
        ("root ::= $", "line 1, column 10: '$' is not understood"),
        ("root ::= <think", "line 1, column 10: a token looks like"),
    ],
)
def test_refusals_name_the_place(grammar, message):
    with pytest.raises(GlmqError) as refusal:
        grammar_constraint(grammar)
    assert f"the GBNF grammar is refused, {message}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("depth", [150, 10_000])
def test_parentheses_are_followed_or_refused_but_never_too_much(tokenizer, depth):
    grammar = "root ::= " + "(" * depth + '"a"' + ")" * depth
    if depth < 200:
        assert may_say(tokenizer, grammar, "a") == (True, True)
    else:
        with pytest.raises(GlmqError, match="groups are nested more than 200 deep"):
            grammar_constraint(grammar)


def test_tokens_by_id_and_by_name(tokenizer):
    special = tokenizer.token_id("<|user|>")
    guide = grammar_constraint('root ::= <|user|> !<[65]>{2} "b" | <[66]>').guide(tokenizer)
    assert allowed(guide, tokenizer.n_vocab) == {special, 66}
    guide.accept(special)
    for _ in range(2):
        found = allowed(guide, tokenizer.n_vocab)
        assert 65 not in found
        assert {64, 66} <= found
        guide.accept(64)
    (b,) = tokenizer.encode("b")
    assert allowed(guide, tokenizer.n_vocab) == {b}
    for grammar in ("root ::= [a]\n  <|none|>", "root ::= [a] <[99999]>"):
        with pytest.raises(GlmqError):
            grammar_constraint(grammar).guide(tokenizer)
    with pytest.raises(GlmqError, match="refused, line 1, column 14: the model has no token 99999"):
        grammar_constraint("root ::= [a] <[99999]>").guide(tokenizer)


def test_forced_text_comes_in_tokens_and_has_an_end(tokenizer):
    guide = grammar_constraint('root ::= "abcde" [0-9] "fg"').guide(tokenizer)
    assert tokenizer.decode(guide.forced()) == "abcde"
    for token in (*guide.forced(), *tokenizer.encode("7")):
        assert token in allowed(guide, tokenizer.n_vocab)
        guide.accept(token)
    assert tokenizer.decode(guide.forced()) == "fg"


def test_texts_that_are_no_utf8_and_endless_ones_are_refused():
    with pytest.raises(GlmqError, match="line 2, column 6: half a character"):
        grammar_constraint('root ::= a\na ::=\udcff "b"')
    with pytest.raises(GlmqError, match="more than 400000"):
        grammar_constraint('root ::= "' + 400_000 * "a" + '"')


def test_without_time_for_larger_lexemes_each_character_is_one(tokenizer, monkeypatch):
    monkeypatch.setattr("glmq.constraint.gbnf.lexemes.SECONDS", -1.0)
    for grammar, texts, beginnings, others in PITFALLS:
        for text in [*texts, *beginnings]:
            assert may_say(tokenizer, grammar, text) == (True, text in texts), (grammar, text)
        for text in others:
            assert not may_say(tokenizer, grammar, text)[0], (grammar, text)
