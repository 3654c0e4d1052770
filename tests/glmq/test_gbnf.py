"""GBNF means here what it means in llama.cpp: the same texts, and the same ends."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import UserError
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
        with pytest.raises(UserError, match="never ends"):
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
