"""Conversations for property tests, and real templates."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

SHARED = Path(__file__).parents[3] / "shared" / "templates"
REAL = ("GLM-4.6", "GLM-4.7-Flash")

FRAGMENTS = (
    "Grüße", "你好", "🙂", "a\u0301", " ", "\n", "\n\n", "\t", "\r\n", "word", "1234567", "<b>", "&amp;",
    "'\"", "</think>", "<think>", "<|user|>", "<tool_call>", "</arg_value>", "/nothink", "{{ x }}", "\\n",
)  # fmt: skip
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=6).map("".join)
parts = st.lists(texts.map(lambda text: {"type": "text", "text": text}) | texts, max_size=3)
contents = texts | parts
names = st.sampled_from(("get_weather", "run", "größe"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.sampled_from(("city", "days", "größe", "a b")), json_values, max_size=3)
functions = st.fixed_dictionaries({"name": names, "arguments": arguments})
calls = functions | functions.map(lambda function: {"type": "function", "function": function})
tools = st.lists(
    st.builds(
        lambda name, text: {
            "type": "function",
            "function": {"name": name, "description": text, "parameters": {"type": "object"}},
        },
        names,
        texts,
    ),
    max_size=2,
)


@st.composite
def answers(draw, contents=contents):
    """What answers a user: rounds of tool calls with results, then an answer; each may have thought."""
    messages = []
    for _ in range(draw(st.integers(0, 2))):
        called = draw(st.lists(calls, min_size=1, max_size=2))
        ids = [{"tool_call_id": f"call_{i}"} for i, _ in enumerate(called)] if draw(st.booleans()) else []
        called = [{**call, **({"id": f"call_{i}"} if ids else {})} for i, call in enumerate(called)]
        messages.append({**draw(assistants(contents)), "tool_calls": called})
        messages += [
            {"role": "tool", "content": draw(texts), **(ids[i] if ids else {})} for i, _ in enumerate(called)
        ]
    return [*messages, draw(assistants(contents))]


@st.composite
def assistants(draw, contents=contents):
    message = {"role": "assistant", "content": draw(contents)}
    if draw(st.booleans()):
        message["reasoning_content"] = draw(texts)
    return message


@st.composite
def conversations(draw, contents=contents):
    """A system message or none, turns, and at the end a user's message, a tool's result or an answer."""
    messages = [{"role": "system", "content": draw(contents)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages += [{"role": "user", "content": draw(contents)}, *draw(answers(contents))]
    n_missing = draw(st.integers(0, 3))
    return messages[: max(1, len(messages) - n_missing)]


switches = st.sampled_from((None, False, True))


def real_source(name):
    path = SHARED / f"{name}.jinja"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path.read_text(encoding="utf-8")
