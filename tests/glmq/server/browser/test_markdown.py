"""Markdown as the page shows it, whole and while it is written."""

from __future__ import annotations

from importlib.resources import files
from itertools import pairwise

import pytest

from glmq.server.page.assembly import one_script

MODULES = ("elements", "inline_markdown", "markdown", "markdown_view")

CASES = {
    "# A *b*": '<h1 dir="auto">A <em>b</em></h1>',
    "###### six ######": '<h6 dir="auto">six</h6>',
    "#no heading": '<p dir="auto">#no heading</p>',
    "**a** __b__ *c* _d_ ~~e~~": (
        '<p dir="auto"><strong>a</strong> <strong>b</strong> <em>c</em> <em>d</em> <del>e</del></p>'
    ),
    "***a***": '<p dir="auto"><em><strong>a</strong></em></p>',
    "**a *b* c**": '<p dir="auto"><strong>a <em>b</em> c</strong></p>',
    "snake_case_name, 2 * 3 * 4": '<p dir="auto">snake_case_name, 2 * 3 * 4</p>',
    r"\*a\* \# 1\. x": r'<p dir="auto">*a* # 1. x</p>',
    "`a*b` ``c`d``": '<p dir="auto"><code dir="ltr">a*b</code> <code dir="ltr">c`d</code></p>',
    "a `b": '<p dir="auto">a `b</p>',
    "one\ntwo<br>three": '<p dir="auto">one<br>two<br>three</p>',
    "a\n\nb": '<p dir="auto">a</p><p dir="auto">b</p>',
    "a\n---\nb": '<p dir="auto">a</p><hr><p dir="auto">b</p>',
    "a\n===": '<h1 dir="auto">a</h1>',
    "- a\n- b": '<ul><li dir="auto"><p dir="auto">a</p></li><li dir="auto"><p dir="auto">b</p></li></ul>',
    "3. a\n4. b": (
        '<ol start="3"><li dir="auto"><p dir="auto">a</p></li><li dir="auto"><p dir="auto">b</p></li></ol>'
    ),
    "1. a\n  - b\n    - c\n2. d": (
        '<ol><li dir="auto"><p dir="auto">a</p><ul><li dir="auto"><p dir="auto">b</p><ul><li dir="auto">'
        '<p dir="auto">c</p></li></ul></li></ul></li><li dir="auto"><p dir="auto">d</p></li></ol>'
    ),
    "- [x] a": (
        '<ul><li class="has-task" dir="auto"><span class="task done">☑ </span><p dir="auto">a</p></li></ul>'
    ),
    "> a\nb\n> - c": (
        '<blockquote dir="auto"><p dir="auto">a<br>b</p><ul><li dir="auto"><p dir="auto">c</p></li></ul>'
        "</blockquote>"
    ),
    "&lt;b&gt; &amp; &copy;": '<p dir="auto">&lt;b&gt; &amp; &amp;copy;</p>',
    "<b>x</b>": '<p dir="auto">&lt;b&gt;x&lt;/b&gt;</p>',
}

LINK = '<a href="{0}" rel="noopener noreferrer nofollow" target="_blank">{1}</a>'
LINKS = {
    "[a](https://x.y/z_(1))": LINK.format("https://x.y/z_(1)", "a"),
    '[a](<https://x.y> "title")': LINK.format("https://x.y", "a"),
    "see https://x.y/a_b_c, or": f"see {LINK.format('https://x.y/a_b_c', 'https://x.y/a_b_c')}, or",
    "(https://x.y/q?a=1)": f"({LINK.format('https://x.y/q?a=1', 'https://x.y/q?a=1')})",
    "<mailto:a@b.c>": LINK.format("mailto:a@b.c", "a@b.c"),
    "![p](https://x.y/p.png)": LINK.format("https://x.y/p.png", "p"),
    "[a](/path) [b](#c)": "[a](/path) [b](#c)",
}

TABLE = """\
| a | b |
|:--|--:|
| `x|y` | **2** |
| one |
"""

LONG = f"""\
# A *title*

Some **bold, and *more*** text with `code`, a [link](https://x.y/z) and ~~less~~.

1. One
   - Two, __strong__
     - Three

       ```py
       x = [1]
       ```
2. Four
- [ ] Five

> A *quote*
> - of two

{TABLE}
---

```js
const a = "*not bold*";
```

An end.
"""


@pytest.fixture(scope="module")
def shown(browser):
    """Shows Markdown, and gives the HTML for it. With `partial`, as of a text that is still written."""
    folder = files("glmq.server.page").joinpath("scripts")
    script = one_script({name: folder.joinpath(f"{name}.js").read_text("utf-8") for name in MODULES})
    page = browser.new_page()
    page.add_script_tag(content=f"{script}\nwindow.newView = () => new module_markdown_view.MarkdownView();")
    yield page
    page.close()


def html_of(page, text):
    return page.evaluate("text => { const v = newView(); v.show(text); return v.element.innerHTML; }", text)


@pytest.mark.parametrize("text", CASES)
def test_blocks_and_emphasis(shown, text):
    assert html_of(shown, text) == CASES[text]


@pytest.mark.parametrize("text", LINKS)
def test_links(shown, text):
    assert html_of(shown, text) == f'<p dir="auto">{LINKS[text]}</p>'


def test_tables(shown):
    rows = shown.evaluate(
        "text => { const v = newView(); v.show(text); return Array.from(v.element.querySelectorAll('tr'),"
        " row => Array.from(row.cells, cell => [cell.className, cell.innerHTML])); }",
        TABLE,
    )
    code = '<code dir="ltr">x|y</code>'
    assert rows == [
        [["", "a"], ["end", "b"]],
        [["", code], ["end", "<strong>2</strong>"]],
        [["", "one"], ["end", ""]],
    ]


@pytest.mark.parametrize(
    "text", ("```py\na\n  b\n```", "~~~py\na\n  b\n~~~", "````py\na\n  b\n````", "```py\na\n  b")
)
def test_code_is_shown_as_it_is_with_its_language(shown, text):
    code = shown.evaluate(
        "text => { const v = newView(); v.show(text); return [v.element.querySelector('code').textContent,"
        " v.element.querySelector('.code-head span').textContent]; }",
        text,
    )
    assert code == ["a\n  b", "py"]


def test_a_text_that_grows_ends_as_the_whole_text(shown):
    """Written one character at a time, as the whole text, and never in between with marks in sight."""
    is_equal, marks = shown.evaluate(
        """text => {
          const view = newView();
          const marks = new Set();
          for (let n = 1; n < text.length; n++) {
            view.show(text.slice(0, n), true);
            const words = view.element.cloneNode(true);
            for (const code of words.querySelectorAll("code")) code.remove();
            for (const mark of words.textContent.match(/[*`~#|>_\\[\\]]+/g) ?? []) marks.add(mark);
          }
          view.show(text);
          const whole = newView();
          whole.show(text);
          return [view.element.isEqualNode(whole.element), Array.from(marks)];
        }""",
        LONG,
    )
    assert is_equal
    assert marks == []


def test_code_of_many_lines_is_copied_as_it_is(shown):
    """It stands in several elements, which must not add or lose a line."""
    code = "\n".join(f"line {i}" + "\n" * (i % 3) for i in range(1999))
    assert shown.evaluate(
        """code => {
          const view = newView();
          for (let n = 0; n < code.length; n += 999) view.show("```\\n" + code.slice(0, n), true);
          view.show("```\\n" + code + "\\n```");
          document.body.replaceChildren(view.element);
          getSelection().selectAllChildren(view.element.querySelector("code"));
          return [view.element.querySelector("code").textContent, getSelection().toString().trimEnd()];
        }""",
        code,
    ) == [code, code]


def test_items_that_are_over_are_never_touched_again(shown):
    assert shown.evaluate(
        """() => {
          const view = newView();
          const text = "- one\\n- two\\n\\n  more\\n- three\\n  - four\\n\\nAn end.";
          view.show(text.slice(0, 13), true);
          const first = view.element.querySelector("li");
          for (let n = 14; n <= text.length; n++) view.show(text.slice(0, n), true);
          return [view.element.querySelector("li") === first, view.element.children.length,
                  view.element.firstChild.children.length];
        }"""
    ) == [True, 2, 3]


def test_what_is_shown_only_grows(shown):
    """Each state of a growing text begins with the words of the one before it."""
    states = shown.evaluate(
        """text => {
          const view = newView();
          return Array.from(text, (_, n) => {
            view.show(text.slice(0, n + 1), true);
            return view.element.textContent;
          });
        }""",
        LONG,
    )
    for before, after in pairwise(states):
        assert after.startswith(before)


@pytest.mark.parametrize(
    "text",
    (
        "[" * 20_000,
        "*a _b `c [d " * 5_000,
        "> " * 20_000 + "x",
        "- " * 5_000 + "x",
        "`a``b```c" * 5_000,
        "|" * 20_000,
    ),
    ids=("brackets", "openers", "quotes", "lists", "ticks", "pipes"),
)
def test_strange_texts_are_shown_before_long(shown, text):
    """Work that grows with the square of such a text's length would take minutes."""
    assert len(html_of(shown, text)) > 1000
