"""Markdown that arrives in pieces, as blocks that are finished one after another.

A block is finished when the next one has begun: CommonMark never goes back to it
(https://spec.commonmark.org/0.31.2/, "Appendix: A parsing strategy"). Of two kinds parts are finished
earlier: lines of fenced code, and items of lists.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

SENTINEL = ".\n"
"""A line put after the text: code that is still open takes it in."""


@dataclass(frozen=True)
class Piece:
    """A block, or the next part of one.

    tokens: of one block, as markdown-it gives them. continues: it belongs to the block of the piece before
    it. code_before: for code, the lines of its block before these.
    """

    tokens: list[Token]
    continues: bool = False
    code_before: str = ""


@dataclass(frozen=True)
class _OpenCode:
    """Fenced code that goes on: a line that opens such code, its token, the lines so far."""

    opening: str
    token: Token
    code: str = ""


@dataclass(frozen=True)
class _OpenList:
    """A list of which items are finished: the first line of one of them, and of the next item its number
    and whether a blank line is before it.
    """

    item_line: str
    number: int
    blank_before: bool


def markdown_parser() -> MarkdownIt:
    """CommonMark with tables and strikethrough, HTML kept as text.

    Without link reference definitions: one at the end of a text would change what was finished long before.
    """
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return parser.disable(["reference", "html_block"])


class MarkdownStream:
    """Takes a text piece by piece; may be asked at any time for what has been finished since, and what not.

    The text holds no carriage returns.
    """

    def __init__(self) -> None:
        self._parser = markdown_parser()
        self._text = ""
        self._n_seen = 0
        self._open: _OpenCode | _OpenList | None = None

    def feed(self, text: str) -> None:
        """Append to the text."""
        self._text += text

    def finished(self) -> list[Piece]:
        """What is finished and was not given before. Only complete lines count."""
        end = self._text.rfind("\n") + 1
        if end == self._n_seen:
            return []
        pieces = self._take(end, final=False)
        self._n_seen = self._text.rfind("\n") + 1
        return pieces

    def rest(self) -> list[Piece]:
        """What follows the finished blocks, as if the text ended here."""
        ended = copy.copy(self)
        if isinstance(self._open, _OpenCode):
            lines, newline, last = self._text.rpartition("\n")
            if set(last.strip()) <= set(self._open.token.markup):  # may become the line that closes it
                ended._text = lines + newline
        return ended._take(len(ended._text), final=True)

    def end(self) -> list[Piece]:
        """The text is complete: all that was not given yet."""
        pieces = self._take(len(self._text), final=True)
        self._text, self._n_seen, self._open = "", 0, None
        return pieces

    def _take(self, end: int, *, final: bool) -> list[Piece]:
        text, after = self._text[:end], self._text[end:]
        if final and text and not text.endswith("\n"):
            text += "\n"
        pieces: list[Piece] = []
        if isinstance(self._open, _OpenCode):
            text = self._take_code(self._open, text, pieces)
        if not isinstance(self._open, _OpenCode):
            text = self._take_blocks(text, pieces, final)
        if isinstance(self._open, _OpenCode):  # it was opened just now
            text = self._take_code(self._open, text, pieces)
        self._text = text + after
        return pieces

    def _take_code(self, code: _OpenCode, text: str, pieces: list[Piece]) -> str:
        """Add the lines of open code to the pieces; gives the text after them."""
        tokens = self._parser.parse(code.opening + text + SENTINEL)
        still_open = len(tokens) == 1
        lines = tokens[0].content.removesuffix(SENTINEL) if still_open else tokens[0].content
        if lines:
            token = code.token.copy(content=lines)
            pieces.append(Piece([token], continues=True, code_before=code.code))
        if still_open:
            self._open = replace(code, code=code.code + lines)
            return ""
        self._open = None
        return _after_lines(text, _line_range(tokens[0])[1] - 1)

    def _take_blocks(self, text: str, pieces: list[Piece], final: bool) -> str:
        """Add finished blocks to the pieces; gives the text of the last one, which is not."""
        continued = self._open if isinstance(self._open, _OpenList) else None
        if continued:
            # The blank line keeps the two lines from being read as one block.
            text = continued.item_line + "\n" + text
        lines = text.split("\n")
        blocks = [_with_blank_lines(block, lines) for block in _blocks(self._parser.parse(text))]
        rest = ""
        for i, block in enumerate(blocks):
            is_last = i == len(blocks) - 1 and not final
            if block[0].type in ("bullet_list_open", "ordered_list_open"):
                rest = self._take_list(block, lines, pieces, continued if i == 0 else None, is_last)
            elif is_last and _is_open_code(block[0], lines):
                rest = self._open_code(block[0], lines, pieces)
            elif is_last:
                self._open = None
                rest = "\n".join(lines[_line_range(block[0])[0] :])
            else:
                pieces.append(Piece(block))
        return rest

    def _take_list(
        self,
        block: list[Token],
        lines: list[str],
        pieces: list[Piece],
        continued: _OpenList | None,
        is_last: bool,
    ) -> str:
        """Add the finished items of a list; gives the text of its last item where that is not finished."""
        items = _items(block)
        number = int(block[0].attrs.get("start", 1))
        if continued:
            items, number = items[1:], continued.number
            items[0][0].meta["blank_before"] = continued.blank_before
        done = items[:-1] if is_last else items
        if done:
            opening = block[0].copy(attrs={"start": number})
            flat = [token for item in done for token in item]
            pieces.append(Piece([opening, *flat, block[-1]], continues=continued is not None))
        if not is_last:
            self._open = None
            return ""
        start = _line_range(items[-1][0])[0]
        if done:
            item_line = lines[_line_range(done[-1][0])[0]] + "\n"
            blank_before = items[-1][0].meta["blank_before"]
            self._open = _OpenList(item_line, number + len(done), blank_before)
        return "\n".join(lines[start:])

    def _open_code(self, token: Token, lines: list[str], pieces: list[Piece]) -> str:
        """Begin fenced code; gives the text after the line that opens it."""
        start = _line_range(token)[0]
        opened = token.copy(content="")
        pieces.append(Piece([opened]))
        indent = " " * (len(lines[start]) - len(lines[start].lstrip(" ")))
        self._open = _OpenCode(f"{indent}{token.markup}\n", opened)
        return "\n".join(lines[start + 1 :])


def _is_open_code(token: Token, lines: list[str]) -> bool:
    """Whether fenced code has begun; with its opening line alone it may still become a table."""
    return token.type == "fence" and len(lines) - _line_range(token)[0] > 2


def _blocks(tokens: list[Token]) -> Iterator[list[Token]]:
    """Tokens of each block that is not inside another."""
    return _groups(tokens, level=0)


def _items(block: list[Token]) -> list[list[Token]]:
    """Tokens of each item of a list."""
    return list(_groups(block[1:-1], level=1))


def _groups(tokens: list[Token], level: int) -> Iterator[list[Token]]:
    group: list[Token] = []
    for token in tokens:
        group.append(token)
        if token.level == level and token.nesting <= 0:
            yield group
            group = []


def _with_blank_lines(block: list[Token], lines: list[str]) -> list[Token]:
    """Note at the items of lists whether a blank line is between them and the item that began before."""
    last = len(lines)
    for token in block:
        if token.type == "list_item_open":
            start = _line_range(token)[0]
            token.meta["blank_before"] = last < start - 1 and not lines[start - 1].strip()
            last = start
    return block


def _line_range(token: Token) -> tuple[int, int]:
    """The lines of a block's opening token, which always has them."""
    first, after = token.map or (0, 0)
    return first, after


def _after_lines(text: str, n: int) -> str:
    """The text after its first `n` lines."""
    return text.split("\n", n)[n] if text.count("\n") >= n else ""
