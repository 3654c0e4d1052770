"""Functions of the program itself as tools."""

from __future__ import annotations

import functools

import pytest
from glmq_kernels.errors import GlmqError

from glmq.tools import ToolBox, function_tools


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: the first
    """
    return a + b


async def later(text: str) -> str:
    """Give a text back."""
    return f"later {text}"


class Counter:
    n = 0

    def count(self) -> int:
        """Count one further."""
        self.n += 1
        return self.n


def boxed(*functions):
    return ToolBox([function_tools(functions)])


def test_the_model_is_told_of_hints_and_docstrings():
    [definition] = boxed(add).definitions
    function = definition["function"]
    assert (function["name"], function["description"]) == ("add", "Add two numbers.")
    assert function["parameters"]["properties"]["a"] == {"type": "integer", "description": "the first"}
    assert function["parameters"]["required"] == ["a"]


def test_calls_run_here():
    counter = Counter()
    box = boxed(add, later, counter.count)
    assert box.call("add", {"a": 2, "b": 3}).text == "5"
    assert box.call("later", {"text": "x"}).text == "later x"
    assert [box.call("count", {}).text for _ in range(2)] == ["1", "2"] and counter.n == 2


def test_what_goes_wrong_is_a_result():
    def fails() -> str:
        """Fails."""
        raise ValueError("boom")

    box = boxed(fails, add)
    failed = box.call("fails", {})
    assert failed.failed and "ValueError: boom" in failed.text
    assert "cannot be used" in box.call("add", {"a": "x"}).text


def test_ctrl_c_in_a_function_is_not_a_result():
    def pressed() -> str:
        """Ends."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        boxed(pressed).call("pressed", {})


@pytest.mark.parametrize(
    ("function", "told"),
    (
        (lambda x: x, "cannot be a tool"),
        (functools.partial(add, 1), "cannot be a tool"),
        (len, "cannot be a tool"),
        (test_the_model_is_told_of_hints_and_docstrings, "has no docstring"),
    ),
)
def test_what_cannot_be_told_is_refused(function, told):
    with pytest.raises(GlmqError, match=told):
        boxed(function)
