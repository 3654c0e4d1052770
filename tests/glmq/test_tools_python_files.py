"""Python files of tools: definitions, calls in a process of their own, and files that are refused."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import threading
import time

import pytest
from glmq_kernels.errors import GlmqError

from glmq.tools import ToolBox, load_tools
from glmq.tools.python_file import load_python_tools


@pytest.fixture
def opened(tmp_path):
    """Writes a file of functions and opens it; closes everything at the end."""
    boxes = []

    def write(source, time_limit=20):
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(source))
        boxes.append(ToolBox([load_tools(path)], time_limit=time_limit))
        return boxes[-1]

    yield write
    for box in boxes:
        box.close()


def schema(box, name="f"):
    return box.tools[name].parameters


DOCUMENTED = '''
def f(city: str, days: int = 3):
    """Tell the weather
    of a city.

    Not told.

    {}
    """
    return f"{{city}} {{days}}"
'''
GOOGLE = """Args:
        city: Its name,
            in full.
        days (int): How many."""
NUMPY = """Parameters
    ----------
    city : str
        Its name,
        in full.
    days : int
        How many."""
REST = """:param city: Its name,
        in full.
    :param days: How many."""


@pytest.mark.parametrize("style", (GOOGLE, NUMPY, REST))
def test_descriptions_come_from_the_docstring(opened, style):
    box = opened(DOCUMENTED.format(style))
    assert box.tools["f"].description == "Tell the weather of a city."
    assert schema(box) == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Its name, in full."},
            "days": {"type": "integer", "default": 3, "description": "How many."},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_type_hints_of_all_kinds(opened):
    box = opened('''
        from __future__ import annotations
        import enum
        from dataclasses import dataclass
        from typing import Annotated, Literal, Optional
        from pydantic import BaseModel, Field

        class Colour(enum.Enum):
            RED = "red"
            BLUE = "blue"

        @dataclass
        class Point:
            x: int
            title: str = "origin"

        class Line(BaseModel):
            start: Point

        def f(
            unit: Literal["c", "f"],
            colour: Colour,
            names: list[str],
            counts: dict[str, int],
            line: Line,
            model_name: Annotated[int, Field(ge=1, description="told here")],
            note: Optional[str] = None,
            json: int | str = 3,
        ):
            """Everything."""
            return [unit, colour.name, names, counts, line.start.title, model_name, note, json]
    ''')  # fmt: skip
    properties = schema(box)["properties"]
    point = {"type": "object", "required": ["x"]}
    point["properties"] = {"x": {"type": "integer"}, "title": {"type": "string", "default": "origin"}}
    assert properties["unit"] == {"type": "string", "enum": ["c", "f"]}
    assert properties["colour"] == {"type": "string", "enum": ["red", "blue"]}
    assert properties["line"] == {"type": "object", "properties": {"start": point}, "required": ["start"]}
    assert properties["model_name"] == {"type": "integer", "minimum": 1, "description": "told here"}
    assert properties["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    arguments = {
        "unit": "c",
        "colour": "red",
        "names": ["ä"],
        "counts": {"a": 1},
        "line": {"start": {"x": 1}},
        "model_name": 1,
    }
    assert json.loads(box.call("f", arguments).text) == ["c", "RED", ["ä"], {"a": 1}, "origin", 1, None, 3]
    for wrong in (
        {"unit": "k"},
        {"colour": "green"},
        {"line": {"start": {}}},
        {"model_name": 0},
        {"more": 1},
    ):
        assert box.call("f", arguments | wrong).failed


def test_a_type_that_holds_itself(opened):
    box = opened('''
        from __future__ import annotations
        from dataclasses import dataclass

        @dataclass
        class Node:
            children: list[Node]

        def f(node: Node) -> int:
            """Depth."""
            return 1 + max((f(child) for child in node.children), default=0)
    ''')
    tree = {"children": [{"children": [{"children": []}]}]}
    assert box.call("f", {"node": tree}).text == "3"
    assert box.call("f", {"node": {"children": [{"kids": []}]}}).failed


def test_only_public_functions_of_the_file_are_tools(opened):
    box = opened('''
        from functools import cache
        from json import dumps
        from os.path import join

        class Thing:
            def method(self): ...

        def _hidden(x): ...

        def shown() -> str:
            """Shown."""
            return join("a", "b")

        @cache
        def cached(x: int) -> int:
            """Decorated."""
            return x

        async def waiting(x: int) -> int:
            """Asynchronous."""
            return x
    ''')
    assert list(box.tools) == ["shown", "cached", "waiting"]
    assert box.call("cached", {"x": 3}).text == "3"
    assert box.call("waiting", {"x": 4}).text == "4"


@pytest.mark.parametrize(
    ("value", "text"),
    (
        ("'grün \\n'", "grün \n"),
        ("{'ä': (1, None, True)}", '{"ä":[1,null,true]}'),
        ("None", "null"),
        ("3.5", "3.5"),
        ("date(2026, 1, 2)", '"2026-01-02"'),
        ("{Path('a')}", '["a"]'),
        ("float('nan')", "NaN"),
        ("b'\\xff'", '"_w=="'),
        ("object", "\"<class 'object'>\""),
        ("'\\ud800'", "?"),
    ),
)
def test_results_are_strings_as_they_are_and_all_else_as_json(opened, value, text):
    box = opened(
        f'from datetime import date\nfrom pathlib import Path\ndef f():\n "Gives."\n return {value}\n'
    )
    assert box.call("f", {}).text == text


@pytest.mark.parametrize(
    ("body", "told"),
    (
        ("raise ValueError('no such city')", "f failed: ValueError: no such city (mine.py, line 5)"),
        ("import sys; sys.exit(3)", "f failed: SystemExit: 3 (mine.py, line 5)"),
        ("raise KeyboardInterrupt", "f failed: KeyboardInterrupt"),
        ("a = []; a.append(a); return a", "f failed: its result is no JSON: "),
        ("import os; os._exit(7)", "f ended its process with exit code 7"),
        ("import os; os.abort()", "f ended its process by signal 6"),
        ("import os; os.write(2, b'why\\n'); os._exit(1)", "exit code 1\nwhy"),
        ("return 'x' * (20 << 20)", "too long"),
    ),
)
def test_what_goes_wrong_in_a_function_is_told_and_the_next_call_works(opened, body, told):
    box = opened(f'def works():\n "Works."\n return "fine"\ndef f():\n {body}\nf.__doc__ = "Fails."\n')
    result = box.call("f", {})
    assert result.failed and told in result.text
    assert box.call("works", {}).text == "fine"


def test_modules_in_the_folder_of_the_program_are_not_taken_for_others(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("types", "json", "re"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    box = opened("def f():\n    'Works.'\n    return 'fine'\n")
    assert box.call("f", {}).text == "fine"


def test_what_a_function_prints_does_not_disturb(opened, capfd):
    box = opened('''
        import os
        print("imported")
        def f() -> str:
            """Prints."""
            print("printed")
            os.write(1, b"written")
            os.system("echo started")
            try:
                return input()
            except EOFError:
                return "nothing to read"
    ''')
    assert box.call("f", {}).text == "nothing to read"
    box.close()
    assert capfd.readouterr() == ("", "")


def test_more_output_than_a_pipe_holds_does_not_block(opened):
    box = opened('def f():\n "Prints."\n print("x" * 1_000_000)\n return "done"\n')
    assert box.call("f", {}).text == "done"


HANGS = '''
import os, time
calls = 0
def f(seconds: int) -> int:
    """Sleeps."""
    global calls
    calls += 1
    open("pid", "w").write(str(os.getpid()))
    time.sleep(seconds)
    return calls
'''


def test_memory_is_kept_between_calls_until_a_hang(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    box = opened(HANGS, time_limit=1.5)
    assert [box.call("f", {"seconds": 0}).text for _ in range(2)] == ["1", "2"]
    result = box.call("f", {"seconds": 600})
    assert result.failed
    assert "f was stopped after 1.5 s; what mine.py kept in memory is lost" in result.text
    assert box.call("f", {"seconds": 0}).text == "1"


def test_ctrl_c_ends_the_process_and_the_next_call_starts_another(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    box = opened(HANGS)

    def interrupt():
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        box.call("f", {"seconds": 600})
    assert box.call("f", {"seconds": 0}).text == "1"


def test_closing_ends_the_process(opened):
    box = opened('import os\ndef f():\n "Its process."\n return os.getpid()\n')
    pid = int(box.call("f", {}).text)
    box.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_file_may_import_what_lies_beside_it_and_have_any_name(tmp_path):
    (tmp_path / "beside.py").write_text("VALUE = 'found'\n")
    (tmp_path / "json.py").write_text('from beside import VALUE\ndef f():\n "Gives."\n return VALUE\n')
    with ToolBox([load_tools(tmp_path / "json.py")]) as box:
        assert box.call("f", {}).text == "found"


@pytest.mark.parametrize(
    ("source", "told"),
    (
        ("def f(:\n", "mine.py:1: invalid syntax"),
        ("\nx = 1 / 0\n", "mine.py:2: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", "mine.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit('bye')\n", "mine.py:1: SystemExit: bye"),
        (
            "import os\nos.write(2, b'why\\n')\nos._exit(3)\n",
            "ended its process while it was imported, with exit code 3 · why",
        ),
        ("x = 1\n", "holds no public function"),
        ("\ndef f(x):\n 'Does.'\n", "mine.py:2: f: the parameter x has no type hint"),
        ("def f(x: int): ...\n", "mine.py:1: f has no docstring"),
        ("def f(*x: int):\n 'Does.'\n", "the parameter x cannot be given by name"),
        ("def f(x: int, /):\n 'Does.'\n", "the parameter x cannot be given by name"),
        ("def f(x: 'Nothing'):\n 'Does.'\n", "mine.py:1: f: its type hints make no JSON schema"),
        ("import io\ndef f(x: io.StringIO):\n 'Does.'\n", "its type hints make no JSON schema"),
        ("f = lambda x: x\n", "mine.py:1: f: the parameter x has no type hint"),
        ("\x00", "mine.py"),
        ("# \udcff\n", "mine.py"),
    ),
)
def test_files_that_cannot_be_used_are_refused_in_one_line(tmp_path, source, told):
    path = tmp_path / "mine.py"
    path.write_bytes(source.encode("utf-8", "surrogateescape"))
    with pytest.raises(GlmqError) as refusal:
        load_tools(path)
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_import_that_hangs_is_refused(tmp_path):
    path = tmp_path / "slow.py"
    path.write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(GlmqError, match=r"slow\.py was not imported within 0\.5 s"):
        load_python_tools(path, start_limit=0.5)
