"""Markdown blocks as lines for a terminal, with the rich library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.containers import Renderables
from rich.markdown import (
    BlockQuote,
    CodeBlock,
    Heading,
    HorizontalRule,
    ListElement,
    ListItem,
    Markdown,
    MarkdownContext,
    MarkdownElement,
    Paragraph,
    TableElement,
)
from rich.rule import Rule
from rich.segment import Segment, Segments
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from .live_region import Line
from .markdown_stream import Piece
from .terminal import neutral

CODE_THEME = "ansi_dark"
"""Of the terminal's own colours, which suit its background."""
CODE_INDENT = "  "
TAB_SIZE = 4
STYLES = {
    "markdown.h1": "bold underline",
    "markdown.h2": "bold",
    "markdown.h3": "bold",
    "markdown.h4": "bold italic",
    "markdown.h5": "italic",
    "markdown.h6": "italic dim",
    "markdown.code": "bold cyan",
    "markdown.code_block": "none",
    "markdown.block_quote": "italic",
    "markdown.item.number": "bold",
    "markdown.table.border": "dim",
    "markdown.table.header": "bold",
}


def markdown_lines(console: Console, pieces: Sequence[Piece], first: bool) -> list[Line]:
    """Lines of an answer's blocks, with an empty line before each but its first one.

    Code that is not inside another block keeps its lines, however long.
    """
    lines: list[list[Segment]] = []
    for piece in pieces:
        if not (first or piece.continues):
            lines.append([])
        first = False
        if piece.tokens[0].type in ("fence", "code_block"):
            lines += _code_lines(console, piece)
        else:
            options = console.options.update(height=None)
            lines += console.render_lines(_Blocks(piece.tokens), options, pad=False, style=None)
    return terminal_lines(console, lines)


def terminal_lines(console: Console, lines: Iterable[Iterable[Segment]]) -> list[Line]:
    """Lines of segments with the terminal's codes for their styles, and without blanks at their ends."""
    clean = [_without_trailing_blanks(line) for line in lines]
    with console.capture() as capture:
        for line in clean:
            console.print(Segments([*line, Segment.line()]), soft_wrap=True, end="")
    coded = capture.get().split("\n")
    texts = ("".join(segment.text for segment in line) for line in clean)
    return [Line(code, text) for code, text in zip(coded, texts, strict=False)]


def text_lines(console: Console, text: str, style: str = "", indent: int = 0) -> list[Line]:
    """Lines of a text that is no Markdown, wrapped at words."""
    options = console.options.update(width=max(1, console.width - indent), height=None)
    lines = console.render_lines(Text(neutral(text), style), options, pad=False)
    margin = [Segment(" " * indent)] if indent else []
    return terminal_lines(console, ([*margin, *line] for line in lines))


def _without_trailing_blanks(line: Iterable[Segment]) -> list[Segment]:
    """Blanks would be copied with the text, and wrapped when the window becomes narrower."""
    kept = [Segment(neutral(text), style) for text, style, control in line if text and not control]
    while kept and not (text := kept[-1].text.rstrip(" ")):
        kept.pop()
    if kept:
        kept[-1] = Segment(text, kept[-1].style)
    return kept


def _code_lines(console: Console, piece: Piece) -> Iterator[list[Segment]]:
    """Lines of code as they are, highlighted as what goes on from the code before them."""
    token = piece.tokens[0]
    before, code = piece.code_before, token.content
    lines = _highlight(before + code, token.info).split("\n", allow_blank=True)
    for line in lines[before.count("\n") : (before + code).count("\n")]:
        yield [Segment(CODE_INDENT), *line.render(console)]


def _highlight(code: str, info: str) -> Text:
    """Code in the language that an info string of a fence begins with."""
    language = info.strip().partition(" ")[0] or "text"
    text = Syntax("", language, theme=CODE_THEME, tab_size=TAB_SIZE).highlight(code)
    text.expand_tabs(TAB_SIZE)
    return text


class _Heading(Heading):
    """All at the left."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Rule(HorizontalRule):
    """A line across."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Rule(style="dim")


class _NestedCode(CodeBlock):
    """Code inside another block, wrapped where that ends."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = _highlight(str(self.text), self.lexer_name)
        code.right_crop(1)  # the last line's end
        code.no_wrap, code.overflow = False, "fold"
        width = max(1, options.max_width - len(CODE_INDENT))
        for line in console.render_lines(code, options.update(width=width), pad=False):
            yield from (Segment(CODE_INDENT), *line, Segment.line())


class _Item(ListItem):
    """An item with an empty line between its paragraphs."""

    def __init__(self, blank_before: bool) -> None:
        super().__init__()
        self.blank_before = blank_before
        self._last: MarkdownElement | None = None

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Item:
        """The item of a token."""
        return cls(token.meta["blank_before"])

    def on_child_close(self, context: MarkdownContext, child: MarkdownElement) -> bool:
        """Collect what the item holds."""
        if isinstance(child, Paragraph) and isinstance(self._last, Paragraph):
            self.elements.append(Text())
        self._last = child
        return super().on_child_close(context, child)

    def lines(self, console: Console, options: ConsoleOptions, mark: str, style: str) -> Iterator[Segment]:
        """The item's lines beside its mark."""
        inner = options.update(width=max(1, options.max_width - len(mark)))
        lines = console.render_lines(self.elements, inner, pad=False) or [[]]
        for i, line in enumerate(lines):
            yield Segment(mark, console.get_style(style)) if i == 0 else Segment(" " * len(mark))
            yield from line
            yield Segment.line()


class _List(ListElement):
    """A list with the empty lines that are between its items in the source."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        numbered = self.list_type == "ordered_list_open"
        start = self.list_start or 0
        style = "markdown.item.number" if numbered else "markdown.item.bullet"
        for number, item in enumerate(self.items, start):
            assert isinstance(item, _Item)
            if item.blank_before:
                yield Segment.line()
            yield from item.lines(console, options, f"{number:2}. " if numbered else " • ", style)


class _Quote(BlockQuote):
    """A quote behind a bar, with empty lines between its blocks."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[MarkdownElement] = []

    def on_child_close(self, context: MarkdownContext, child: MarkdownElement) -> bool:
        """Collect what the quote holds."""
        self._blocks.append(child)
        return False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        spaced = [part for block in self._blocks for part in (Text(), block)][1:]
        inner = options.update(width=max(1, options.max_width - 2))
        for line in console.render_lines(Renderables(spaced), inner, style=self.style, pad=False):
            yield from (Segment("▌ ", console.get_style("dim")), *line, Segment.line())


class _Table(TableElement):
    """A table without empty lines around it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                table.show_edge = False
            yield table


class _Blocks(Markdown):
    """A block that was parsed before. Addresses are shown as text: a terminal need not follow them."""

    elements = Markdown.elements | {
        "heading_open": _Heading,
        "hr": _Rule,
        "fence": _NestedCode,
        "code_block": _NestedCode,
        "bullet_list_open": _List,
        "ordered_list_open": _List,
        "list_item_open": _Item,
        "blockquote_open": _Quote,
        "table_open": _Table,
    }  # fmt: skip

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__("", code_theme=CODE_THEME, hyperlinks=False)
        self.parsed = [_with_plain_inlines(token) for token in tokens]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The block's lines, without the empty one that rich puts before what holds other blocks."""
        parts = iter(super().__rich_console__(console, options))
        first = next(parts, None)
        if first is not None and first != Segment.line():
            yield first
        yield from parts


def _with_plain_inlines(token: Token) -> Token:
    """The token with links, images and HTML inside it as styled or plain text."""
    if token.type != "inline":
        return token
    return token.copy(children=list(_plain_inlines(token.children or [])))


def _plain_inlines(children: Sequence[Token]) -> Iterator[Token]:
    address, begin = "", 0
    for i, child in enumerate(children):
        if child.type == "link_open":
            address, begin = str(child.attrGet("href") or ""), i
        elif child.type == "link_close":
            label = "".join(inside.content for inside in children[begin + 1 : i])
            if address not in (label, f"mailto:{label}"):
                yield _text(f" ({address})")
        elif child.type == "image":
            yield _text(f"![{child.content}]({child.attrGet('src') or ''})")
        elif child.type == "html_inline":
            yield _line_break(child) or _text(child.content)
        else:
            yield child


def _line_break(html: Token) -> Token | None:
    """Of `<br>`, which tables need for it."""
    if html.content.lower().replace(" ", "") in ("<br>", "<br/>"):
        return Token("hardbreak", "br", 0)
    return None


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)
