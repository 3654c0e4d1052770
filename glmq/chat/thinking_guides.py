"""Guides around a model's thinking: an answer constrained only behind it, and thinking of limited length.

Thinking is what stands between `<think>` and `</think>`, be these one token each or several. It begins in the
prompt (GLM-4.7) or is the first thing of the output but white space (GLM-4.5 and 4.6), or there is none.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from enum import Enum, auto
from weakref import WeakKeyDictionary

import numpy as np
from glmq_kernels.errors import GlmqError

from ..constraint.token_table import token_bytes
from ..guide import Guide, n_allowed
from ..tokenizer import Tokenizer
from .answer_tags import END_THINK, END_TOOL_CALL, THINK

MAX_BLANK_TOKENS = 2
"""Tokens of line breaks that an answer may begin with, whatever it is constrained to."""


class _Phase(Enum):
    """Where an output is.

    START: at its beginning, where thinking may begin or not. RESUME: behind thinking or a call, where it may
    begin anew.
    """

    START = auto()
    THINKING = auto()
    RESUME = auto()
    ANSWER = auto()


class _Thinking:
    """Follows an output. n_tokens: of thinking so far. tail: the end of the text, as far as it matters.

    may_think: thinking may begin with the output. may_resume: and again behind its end or a tool call.
    """

    def __init__(
        self, tokenizer: Tokenizer, in_reasoning: bool, may_think: bool = True, may_resume: bool = False
    ) -> None:
        self.phase = _Phase.THINKING if in_reasoning else _Phase.START if may_think else _Phase.ANSWER
        self.n_tokens = 0
        self.tail = ""
        self._may_resume = may_resume
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_cut(self) -> bool:
        """Whether the output ends inside a character or, as it seems, inside `</think>`."""
        return bool(self._decoder.getstate()[0]) or _n_begun(END_THINK, self.tail) > 0

    def copy(self) -> _Thinking:
        """Another one at the same place."""
        other = copy(self)
        other._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        other._decoder.setstate(self._decoder.getstate())
        return other

    def push(self, token: int) -> None:
        """Go on behind a token."""
        self.n_tokens += self.phase is _Phase.THINKING
        self.tail += self._decoder.decode(self._tokenizer.decode_bytes([token]))
        while self._has_moved():
            pass

    def _has_moved(self) -> bool:
        """Take what the tail tells; whether another phase has begun."""
        before = self.phase
        if before in (_Phase.START, _Phase.RESUME):
            self.tail = self.tail.lstrip()
            if self.tail.startswith(THINK):
                self.phase = _Phase.THINKING
                self.tail = self.tail[len(THINK) :]
            elif not THINK.startswith(self.tail):
                self.phase = _Phase.ANSWER
            return self.phase is not before
        end = END_THINK if before is _Phase.THINKING else END_TOOL_CALL
        _, found, after = self.tail.partition(end)
        if found and (before is _Phase.THINKING or self._may_resume):
            self.phase = _Phase.RESUME if self._may_resume else _Phase.ANSWER
            self.tail = after
        else:
            self.tail = self.tail[1 - len(end) :]
        return self.phase is not before


def _n_begun(tag: str, text: str) -> int:
    """How many characters of a tag, but not the whole of it, a text ends with."""
    return next(n for n in range(len(tag) - 1, -1, -1) if text.endswith(tag[:n]))


class ThinkingBudget:
    """Closes thinking after `n_tokens` of it, so that the answer follows. inner: guides everything else.

    All thinking of an output counts, also where it begins anew behind its end or a call (`may_resume`).

    in_reasoning: the prompt ended with `<think>`. Then `</think>` closes, as in GLM-4.7's template; else a
    line break follows it, as in those of 4.5 and 4.6. Raises GlmqError for a budget below 0.
    """

    def __init__(
        self,
        n_tokens: int,
        tokenizer: Tokenizer,
        in_reasoning: bool,
        inner: Guide | None = None,
        *,
        may_resume: bool = True,
    ) -> None:
        if n_tokens < 0:
            raise GlmqError(f"a thinking budget of {n_tokens} tokens is not possible; it must be 0 or more")
        self._n_tokens, self._inner = n_tokens, inner
        self._thinking = _Thinking(tokenizer, in_reasoning, may_resume=may_resume)
        closing = END_THINK if in_reasoning else END_THINK + "\n"
        self._closing = tokenizer.encode(closing, after_text=True)

    @property
    def finished(self) -> bool:
        """What the inner guide says."""
        return self._inner is not None and self._inner.finished

    def forced(self) -> Sequence[int]:
        """The end of thinking when the budget is spent, as soon as it cuts nothing."""
        if self._closes(self._thinking):
            return self._closing
        return self._inner.forced() if self._inner else ()

    def mask(self, logits: np.ndarray) -> None:
        """What the inner guide does."""
        if self._inner:
            self._inner.mask(logits)

    def n_allowed(self, tokens: Sequence[int]) -> int:
        """What the inner guide says, and none that go on with thinking where it is closed."""
        tokens = tokens[: n_allowed(self._inner, tokens)]
        if self._thinking.n_tokens + len(tokens) <= self._n_tokens:
            return len(tokens)
        thinking = self._thinking.copy()
        for n, token in enumerate(tokens):
            if self._closes(thinking) and token != self._closing[0]:
                return n
            thinking.push(token)
        return len(tokens)

    def accept(self, token: int) -> None:
        """Go on behind a token."""
        self._thinking.push(token)
        if self._inner:
            self._inner.accept(token)

    def _closes(self, thinking: _Thinking) -> bool:
        is_spent = thinking.phase is _Phase.THINKING and thinking.n_tokens >= self._n_tokens
        return is_spent and not thinking.is_cut


class AfterThinking:
    """Guides the answer, and only it: thinking is free but has to end. new_inner: makes the answer's guide.

    in_reasoning: the prompt ended with `<think>`. may_think: where it did not, thinking may begin with the
    output or not. Line breaks before the answer are not shown to its guide.
    """

    def __init__(
        self,
        new_inner: Callable[[], Guide],
        tokenizer: Tokenizer,
        in_reasoning: bool,
        may_think: bool = True,
    ) -> None:
        self._new_inner, self._eog_ids = new_inner, sorted(tokenizer.eog_ids)
        self._thinking = _Thinking(tokenizer, in_reasoning, may_think)
        self._inner: Guide | None = None if in_reasoning else new_inner()
        self._tokens = _tag_tokens(tokenizer)
        self._n_blank = 0
        self._begun = False
        self._allowed_by_inner: np.ndarray | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer is complete."""
        return self._inner is not None and self._inner.finished

    def forced(self) -> Sequence[int]:
        """What the answer's guide forces, once the answer has begun."""
        guide = self._guide_within
        return guide.forced() if guide else ()

    def mask(self, logits: np.ndarray) -> None:
        """Rule out an end inside thinking, tokens with its end and more, and answers that may not be."""
        if self._thinking.phase is _Phase.THINKING:
            logits[self._eog_ids] = -np.inf
            logits[self._tokens.beyond_end(self._thinking.tail)] = -np.inf
            return
        also = self._also_allowed()
        kept = logits[also]
        if self._inner:
            self._inner.mask(logits)
        else:
            logits.fill(-np.inf)
        if self._thinking.phase is _Phase.START:
            self._allowed_by_inner = np.isfinite(logits)
        logits[also] = kept

    def n_allowed(self, tokens: Sequence[int]) -> int:
        """What the answer's guide says, once the answer has begun; before that all."""
        return n_allowed(self._guide_within, tokens)

    def accept(self, token: int) -> None:
        """Go on behind a token."""
        was_thinking = self._thinking.phase is _Phase.THINKING
        self._thinking.push(token)
        if self._thinking.phase is _Phase.THINKING:
            self._inner = None
        elif was_thinking:
            self._inner, self._n_blank, self._begun = self._new_inner(), 0, False
        elif self._may_be_blank and token in self._tokens.blank:
            self._n_blank += 1
        elif self._inner:
            self._accept_in_answer(token, self._inner)

    def _accept_in_answer(self, token: int, inner: Guide) -> None:
        allowed = self._allowed_by_inner
        if self._is_answer or (allowed is not None and allowed[token]):
            inner.accept(token)
            self._begun = True
        else:
            self._inner = None

    @property
    def _guide_within(self) -> Guide | None:
        """The answer's guide, once the answer has begun."""
        return self._inner if self._begun and self._is_answer else None

    @property
    def _is_answer(self) -> bool:
        return self._thinking.phase is _Phase.ANSWER

    @property
    def _may_be_blank(self) -> bool:
        at_start = self._is_answer or not self._thinking.tail
        return at_start and not self._begun and self._n_blank < MAX_BLANK_TOKENS

    def _also_allowed(self) -> list[int]:
        """Tokens that may come besides those that the answer's guide allows."""
        found = list(self._tokens.blank) if self._may_be_blank else []
        if self._thinking.phase is _Phase.START:
            found += self._tokens.of_beginning(self._thinking.tail)
        return found


@dataclass(frozen=True)
class _TagTokens:
    """Tokens that have to do with the tags, of one vocabulary.

    blank: those of line breaks alone. beginning: parts of `<think>` and what goes on behind it, with their
    text. end: those that may complete `</think>` and go on with more than line breaks, by the length of
    what must precede them.
    """

    blank: frozenset[int]
    beginning: tuple[tuple[int, str], ...]
    end: tuple[list[int], ...]

    def of_beginning(self, tail: str) -> list[int]:
        """Tokens with which an output that begins with `tail` still can begin with `<think>`."""
        texts = ((token, (tail + text).lstrip()) for token, text in self.beginning)
        return [token for token, text in texts if text.startswith(THINK) or THINK.startswith(text)]

    def beyond_end(self, tail: str) -> list[int]:
        """Tokens that would put the end of thinking and the beginning of an answer into one."""
        n = _n_begun(END_THINK, tail)
        return self.end[0] + self.end[n] if n else self.end[0]


_known: WeakKeyDictionary[Tokenizer, _TagTokens] = WeakKeyDictionary()


def _tag_tokens(tokenizer: Tokenizer) -> _TagTokens:
    if tokenizer not in _known:
        _known[tokenizer] = _find_tag_tokens(tokenizer)
    return _known[tokenizer]


def _find_tag_tokens(tokenizer: Tokenizer) -> _TagTokens:
    parts = {THINK[i:j].encode() for i in range(len(THINK)) for j in range(i + 1, len(THINK) + 1)}
    ends_of_beginning = tuple(THINK[n:].encode() for n in range(len(THINK)))
    ends_of_end = tuple(END_THINK[n:].encode() for n in range(len(END_THINK)))
    blank, beginning = [], []
    end: tuple[list[int], ...] = tuple([] for _ in END_THINK)
    for token, data in enumerate(token_bytes(tokenizer)):
        text = data.lstrip()
        if data and not data.strip(b"\n"):
            blank.append(token)
        elif text in parts or text.startswith(ends_of_beginning):
            beginning.append((token, data.decode("utf-8", "replace")))
        if data.startswith(ends_of_end[1:]):
            n = next(n for n, rest in enumerate(ends_of_end) if n and data.startswith(rest))
            if data[len(END_THINK) - n :].strip(b"\n"):
                end[n].append(token)
        elif data.partition(ends_of_end[0])[2].strip(b"\n"):
            end[0].append(token)
    return _TagTokens(frozenset(blank), tuple(beginning), end)
