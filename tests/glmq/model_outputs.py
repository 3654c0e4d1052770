"""Outputs of GLM models for the parser's tests, and what the parser's events tell."""

from __future__ import annotations

import json

from glmq.chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallEnd, ToolCallText
from glmq.chat.output_parser import OutputParser

LINE_BREAKS = {"GLM-4.5/4.6": "\n", "GLM-4.7": ""}
"""What the models put between the tags of a call."""


def call_text(name, arguments, line_break):
    """A call as the models write it: strings as they are, other values as JSON."""
    pairs = "".join(
        f"<arg_key>{key}</arg_key>{line_break}"
        f"<arg_value>{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}</arg_value>"
        f"{line_break}"
        for key, value in arguments.items()
    )
    return f"<tool_call>{name}{line_break}{pairs}</tool_call>"


def function(name, **properties):
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def events_of(pieces, tools=(), in_reasoning=False, ended_by_model=False, **more):
    parser = OutputParser(tools, in_reasoning=in_reasoning, **more)
    events = [event for piece in pieces for event in parser.push(piece)]
    return events + parser.finish(ended_by_model=ended_by_model)


def pieces_of(text, size):
    return [text[i : i + size] for i in range(0, len(text), size)]


def joined(events):
    """Events with neighbouring text of one kind made one."""
    out = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, (ReasoningText, ContentText)) and type(last) is type(event):
            out[-1] = type(event)(last.text + event.text)
        elif isinstance(event, ToolCallText) and isinstance(last, ToolCallText):
            assert last.index == event.index
            out[-1] = ToolCallText(event.index, last.text + event.text)
        else:
            out.append(event)
    return out


def told(events):
    """Events in short: ("think", text), ("say", text) and ("call", name, arguments, problem).

    Asserts what holds for all outputs: no empty text, calls numbered in order, each begun, told as JSON
    and ended, and the JSON equal to the arguments, types included.
    """
    assert all(
        event.text for event in events if isinstance(event, (ReasoningText, ContentText, ToolCallText))
    )
    out = []
    n_calls = 0
    rest = iter(joined(events))
    for event in rest:
        if isinstance(event, ReasoningText):
            out.append(("think", event.text))
        elif isinstance(event, ContentText):
            out.append(("say", event.text))
        else:
            text, end = next(rest), next(rest)
            assert (type(event), type(text), type(end)) == (ToolCallBegin, ToolCallText, ToolCallEnd)
            assert event.index == text.index == end.index == n_calls
            assert event.name == end.name
            assert repr(json.loads(text.text, object_pairs_hook=_without_repetitions)) == repr(end.arguments)
            out.append(("call", end.name, end.arguments, end.problem))
            n_calls += 1
    return out


def _without_repetitions(pairs):
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)
