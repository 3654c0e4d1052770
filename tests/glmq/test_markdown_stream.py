"""Markdown in pieces: blocks are finished as early as they can be, and are those of the whole text."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.theme import Theme

from glmq.cli.markdown_lines import STYLES, markdown_lines
from glmq.cli.markdown_stream import MarkdownStream

TEXT = """# A heading

A paragraph of *two*
lines with `code`.

1. one
2. two

   with a second paragraph
10. ten
    - nested
      ```sh
      ls
      ```

| a | b |
|---|---|
| 1 | 2 |

~~~python
def f():
    return "x"
~~~
> a quote
> - in it
"""


def console(width=40):
    return Console(
        file=io.StringIO(), force_terminal=True, width=width, theme=Theme(STYLES), color_system="standard"
    )


def rendered(pieces, width=40):
    return markdown_lines(console(width), pieces, first=True)


def streamed(pieces):
    stream = MarkdownStream()
    given_back = []
    for piece in pieces:
        stream.feed(piece)
        given_back += stream.finished()
        stream.rest()
    return given_back + stream.end()


def whole(text):
    """The blocks of a text that is parsed once."""
    stream = MarkdownStream()
    stream.feed(text)
    return stream.end()


def finished_after(text):
    stream = MarkdownStream()
    stream.feed(text)
    return [line.text for line in rendered(stream.finished())]


def texts(lines):
    return [line.text for line in lines]


@pytest.mark.parametrize(
    ("text", "finished"),
    (
        ("One\n", []),
        ("One\n\n", []),
        ("One\n\nTwo", []),
        ("One\n\nTwo\n", ["One"]),
        ("One\n#", []),
        ("# One\n", []),
        ("# One\nTwo\n", ["One"]),
        ("One\n---\nTwo\n", ["One"]),
        ("- a\n- b", []),
        ("- a\n- b\n", [" • a"]),
        ("- a\n\n- b\n- c\n", [" • a", "", " • b"]),
        ("1. a\n1. b\n1. c\n", [" 1. a", " 2. b"]),
        ("0. a\n1. b\n", [" 0. a"]),
        ("| a |\n|---|\n| 1 |\n", []),
        ("```\none\ntw", ["  one"]),
        ("```\none\n\n  two\n", ["  one", "", "    two"]),
        ("One\n```\ntwo\n```\n", ["One", "", "  two"]),
        ("```\n", []),
        ("```| a |\n|---|---|\n", []),
        ("> a\nlazy\n", []),
        ("[a]: /url\n\n[a]\n", ["[a]: /url"]),
    ),
)
def test_what_is_finished(text, finished):
    assert finished_after(text) == finished


def test_the_line_that_closes_code_is_not_shown_as_code():
    stream = MarkdownStream()
    stream.feed("```\nls\n``")
    stream.finished()
    assert texts(rendered(stream.rest())) == []
    stream.feed("` is no end\n")
    assert texts(rendered(stream.finished())) == ["  ``` is no end"]


def test_code_goes_on_in_the_colours_of_its_beginning():
    text = '```python\ns = """one\ntwo\nthree"""\n```\n'
    by_line = streamed(text.splitlines(keepends=True))
    assert len(by_line) == 4
    assert rendered(by_line) == rendered(whole(text))
    assert "33mtwo" in rendered(by_line)[1].coded


def test_every_cut_of_a_text_gives_the_same_lines():
    lines = rendered(whole(TEXT))
    for i in range(len(TEXT)):
        assert rendered(streamed([TEXT[:i], TEXT[i:]])) == lines
    assert rendered(streamed(TEXT)) == lines


WORDS = st.sampled_from(
    [
        "a",
        "word",
        "wide 漢字",
        "*it",
        "*",
        "**",
        "`",
        "``",
        "|",
        "[x](y)",
        "<b>",
        "<br>",
        "&#27;",
        "\\",
        "![i](s)",
        "<a:b>",
    ]
)
MARKS = st.sampled_from(
    ["", "", "", "- ", "* ", "+ ", "1. ", "7) ", "10. ", "> ", "# ", "### ", "```", "````", "~~~", "```c",
     "    ", "---", "***", "===", "| a | b |", "|---|:-:|", "| 1 |", "[r]: /u", "<div>", "-", "\t"]
)  # fmt: skip
LINES = st.tuples(
    st.sampled_from(["", "", "", " ", "  ", "   ", "    ", "     "]),
    st.lists(MARKS, max_size=3).map("".join),
    st.lists(WORDS, max_size=4).map(" ".join),
).map("".join)
TEXTS = st.lists(LINES, max_size=14).map("\n".join)


@st.composite
def cut_texts(draw):
    text = draw(TEXTS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return text, [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@settings(max_examples=400, deadline=None)
@given(cut_texts())
@example(("- x\n- a | b\n- | -\n- c", ["- x\n- a | b\n", "- | -\n", "- c"]))
@example(("   - a\n   - b\n- c\n\n- d\n", ["   - a\n   - b\n", "- c\n", "\n- d\n"]))
def test_any_text_cut_anywhere_gives_the_lines_of_the_whole(cut):
    text, pieces = cut
    stream, at_once = rendered(streamed(pieces)), rendered(whole(text))
    assert texts(stream) == texts(at_once)
    if "```c" not in text:  # the lexer of C finds comments only when it sees their end
        assert stream == at_once


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.sampled_from([1, 2, 5, 20]))
def test_any_text_fits_any_width(text, width):
    from rich.cells import cell_len

    lines = rendered(whole(text), width)
    assert all("\x1b" not in line.text for line in lines)
    code = "```" in text or "~~~" in text or "    " in text or "\t" in text
    assert code or width < 5 or all(cell_len(line.text) <= width for line in lines)
