"""Tool calls held to the tools' schemas: a grammar for whole answers, free outside of calls.

A call is `<tool_call>name`, then `<arg_key>key</arg_key><arg_value>value</arg_value>` for each argument, then
`</tool_call>`; GLM-4.5 and 4.6 put a line break after the name and between the tags, 4.7 does not. Strings
stand there as they are, every other value as JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from glmq_kernels.errors import GlmqError

from ..tokenizer import Tokenizer
from .constraint import OPTIONS, Constraint
from .kept_results import kept_by_tokenizer

if TYPE_CHECKING:
    from .tool_rules import CallTags, ToolRules

WHAT = "the tools' schema"
SECONDS = 30.0
"""Tools whose schemas take longer to prepare, all together, are refused."""


def tool_call_constraint(
    tools: Iterable[Mapping[str, Any]],
    tokenizer: Tokenizer,
    *,
    must_call: bool = False,
    max_calls: int | None = None,
    otherwise: Constraint | None = None,
) -> Constraint:
    """Free text in which every tool call names one of the tools, with arguments that fit its schema.

    must_call: it begins with a call, and nothing but calls follows. max_calls: it ends behind so many.
    otherwise: in place of free text it is calls alone, or what fits this constraint.

    tools: OpenAI's definitions, `{"type": "function", "function": {...}}` or the function objects alone.
    Arguments come in any order, each at most once, the required ones always. Of the keywords for
    strings, enum, const, pattern, minLength and maxLength hold. What of a schema cannot be followed is left
    free, and told in the constraint's `notes`. Reasoning is to be kept apart (`chat.thinking_guides`).
    Raises GlmqError when there are no tools or one has no name.
    """
    functions = [tool.get("function", tool) for tool in tools]
    if not functions:
        raise GlmqError("there are no tools whose calls could be constrained")
    try:
        return _compiled(
            tokenizer, json.dumps(functions), must_call, max_calls, None if must_call else otherwise
        )
    except RecursionError:
        raise GlmqError("a tool's schema is nested too deeply") from None


@kept_by_tokenizer
def _compiled(
    tokenizer: Tokenizer,
    functions: str,
    must_call: bool,
    max_calls: int | None,
    otherwise: Constraint | None,
) -> Constraint:
    """The constraint for functions, a list as JSON."""
    from .tool_rules import CallTags, ToolRules

    tags, until = CallTags(tokenizer), time.monotonic() + SECONDS
    written = [ToolRules(i, function, tags, until) for i, function in enumerate(json.loads(functions))]
    start = _start(must_call or otherwise is not None, max_calls)
    constraint = _constraint(written, tags, start, otherwise)
    try:
        constraint.guide(tokenizer)
    except GlmqError:
        for each in written:
            each.free_what_is_refused(tokenizer)
        constraint = _constraint(written, tags, start, otherwise)
        constraint.guide(tokenizer)
    return constraint


def _start(must_call: bool, max_calls: int | None) -> str:
    """How many calls there may be, and whether text may stand before and behind them."""
    if must_call:
        if max_calls == 1:
            return "first_call"
        more = "*" if max_calls is None else f"{{0,{max_calls - 1}}}"
        return f'first_call ("\\n"? first_call){more}'
    return "call* TEXT" if max_calls is None else f"TEXT | call{{1,{max_calls}}}"


def _constraint(
    tools: list[ToolRules], tags: CallTags, start: str, otherwise: Constraint | None
) -> Constraint:
    names = " | ".join(each.name for each in tools)
    rules = [
        f"start: {start}" if otherwise is None else f"start: {start} | @otherwise",
        "TEXT: /(?s:.*)/",
        f"first_call: {tags['<tool_call>']} ({names}) {tags['</tool_call>']}",
        f"call: call_begin ({names}) {tags['</tool_call>']}",
        *tags.text_up_to("call_begin", "TEXT", "<tool_call>"),
    ]
    for each in tools:
        rules += each.rules()
    notes = tuple(note for each in tools for note in each.notes)
    grammar = "\n".join([*rules, OPTIONS, ""])
    if otherwise is None:
        return Constraint(grammar, WHAT, notes=notes)
    grammars = [{"lark_grammar": grammar}, *otherwise.named_grammars("otherwise")]
    return Constraint(
        json.dumps({"grammars": grammars}),
        f"{WHAT}, or {otherwise.what},",
        otherwise.tokens,
        notes + otherwise.notes,
    )
