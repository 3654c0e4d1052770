"""Compiles grammars for llguidance, under limits of size, steps, memory and time."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from glmq_kernels.errors import GlmqError

from ..optional_packages import optional_packages
from .error_messages import one_line

with optional_packages():
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

Result = TypeVar("Result")

SECONDS = 10.0
"""A grammar that takes longer to compile is refused."""

STACK_BYTES = 64 << 20
NESTED_BYTES = 8 << 10
"""Stack for each level of nesting: llguidance compiles rules by recursion."""

MAX_NESTED = 60_000

LIMITS, LIMITS_OF_LARGE = (
    LLParserLimits(
        max_items_in_row=20_000,
        step_max_items=4_000_000,
        step_lexer_fuel=2_000_000,
        verbose_errors=False,
        precompute_large_lexemes=precompute,
    )
    for precompute in (True, False)
)
"""A mask that reaches one of them takes about half a second, and is refused then."""

_one_at_a_time = threading.Lock()


def check_grammar(grammar: str, what: str) -> str | None:
    """Why llguidance refuses a grammar whatever the vocabulary, in its words; None when it does not.

    Raises GlmqError when that takes too long. what: the grammar's name.
    """
    is_refused, messages = _compiled(
        lambda: LLMatcher.validate_grammar_with_warnings(grammar, limits=LIMITS), grammar, what
    )
    return messages[0] if is_refused else None


def compiled_matcher(grammar: str, what: str, tokenizer: LLTokenizer) -> LLMatcher:
    """A matcher at the beginning of a grammar. Raises GlmqError."""

    def compiled(limits: LLParserLimits) -> LLMatcher:
        return _compiled(lambda: LLMatcher(tokenizer, grammar, log_level=0, limits=limits), grammar, what)

    matcher = compiled(LIMITS)
    if "precomputation failed" in matcher.get_error():
        matcher = compiled(LIMITS_OF_LARGE)
    if matcher.is_error():
        raise GlmqError(f"{what} is refused: {one_line(matcher.get_error())}")
    return matcher


def _compiled(work: Callable[[], Result], grammar: str, what: str) -> Result:
    """What `work` gives, in a thread that is given up when it takes too long, and has room for recursion.

    llguidance lets other threads run while it compiles, so that signals are seen meanwhile.
    """
    n_nested = len(re.findall(r"[(\[{:]", grammar))
    if n_nested > MAX_NESTED:
        raise GlmqError(f"{what} is refused: it has {n_nested} rules and groups, more than {MAX_NESTED}")
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # llguidance's panics are no `Exception`
            failures.append(error)

    with _one_at_a_time:
        before = threading.stack_size(STACK_BYTES + n_nested * NESTED_BYTES)
        try:
            thread = threading.Thread(target=run, name="glmq grammar", daemon=True)
            thread.start()
        finally:
            threading.stack_size(before)
    until = time.monotonic() + SECONDS
    while thread.is_alive() and time.monotonic() < until:
        thread.join(0.1)
    if failures:
        raise GlmqError(f"{what} is refused: {one_line(str(failures[0]))}") from failures[0]
    if not results:
        raise GlmqError(f"{what} is refused: it takes more than {SECONDS:.0f} s to prepare; make it simpler")
    return results[0]
