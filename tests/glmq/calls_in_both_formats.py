"""Tool calls in the formats of GLM-4.5/4.6 and of GLM-4.7, for the parser's tests.

Each case is a text of both: ⏎ stands where the former have a line break and the latter has nothing.
"""

from __future__ import annotations

from .model_outputs import events_of, function, pieces_of, told

TOOLS = [
    function(
        "f",
        s={"type": "string"},
        t={"type": "string"},
        n={"type": "integer"},
        x={"type": "number"},
        b={"type": "boolean"},
        a={"type": "array"},
        o={"type": "object"},
        z={"type": "null"},
        maybe={"type": ["string", "null"]},
    ),
    {"name": "bare", "parameters": {"type": "object", "properties": {"s": {"type": "string"}}}},
    {"type": "function", "function": {"name": "no_schema"}},
    {"type": "function", "function": {"name": "mcp__a-b.c:d/E_9"}},
]
NONE = "there is f, bare, no_schema, mcp__a-b.c:d/E_9"
ANOTHER = "another call began "


def call(*pairs, name="f"):
    """A call as a model writes it."""
    arguments = (f"<arg_key>{key}</arg_key>⏎<arg_value>{value}</arg_value>⏎" for key, value in pairs)
    return f"<tool_call>{name}⏎{''.join(arguments)}</tool_call>"


def f(**arguments):
    """What is told of a call of f."""
    return ("call", "f", arguments, None)


def bad(problem, name="f", **arguments):
    """What is told of a call that has a problem."""
    return ("call", name, arguments, problem)


def in_format(value, line_break):
    """A case, or a part of it, with what a format has for ⏎."""
    if isinstance(value, str):
        return value.replace("⏎", line_break)
    if isinstance(value, dict):
        return {key: in_format(part, line_break) for key, part in value.items()}
    return (
        type(value)(in_format(part, line_break) for part in value)
        if isinstance(value, (list, tuple))
        else value
    )


def check(text, expected, line_break):
    """Of a text in pieces of any size is told what is expected."""
    text, expected = in_format(text, line_break), in_format(expected, line_break)
    for size in (1, 3, len(text)):
        assert repr(told(events_of(pieces_of(text, size), TOOLS))) == repr(expected)
