"""What is told where a package is missing that a program may leave out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from glmq.optional_packages import USES, missing_package

from .test_command_line import ENVIRONMENT

FEATURES = {
    "llguidance": "from glmq.constraint import regex_constraint; regex_constraint('a')",
    "jsonschema": "from glmq.tools.call_arguments import schema_problem; schema_problem({})",
    "referencing": "from glmq.chat.offered_tools import _Reader; _Reader({})",
    "docstring_parser": "from glmq.tools import function_tools; function_tools([print_twice])",
    "pydantic": "from glmq.tools import function_tools; function_tools([print_twice])",
    "mcp": "from glmq.tools import mcp_tools; mcp_tools('true')",
    "anyio": "from glmq.tools import mcp_tools; mcp_tools('true')",
    "starlette": "from glmq.cli import main; main(['serve'])",
    "uvicorn": "from glmq.cli import main; main(['serve'])",
    "prometheus_client": "from glmq.cli import main; main(['serve'])",
    "sentencepiece": "from glmq.tokenizer.sentence_pieces import SentencePieces; SentencePieces(None, None)",
    "xxhash": "from glmq.commit_file import checksum; checksum(b'')",
    "gguf": "from glmq.cli import main; main(['convert', '.'])",
    "huggingface_hub": "from glmq.model_file import model_file; model_file('no/model')",
    "httpx2": "from glmq.model_file import model_file; model_file('no/model')",
    "rich": "import glmq.cli.terminal_answer",
    "prompt_toolkit": "import glmq.cli.command_completer",
    "markdown_it": "import glmq.cli.markdown_stream",
    "click": "from glmq.__main__ import main; main()",
}
"""By the package that is missing: what wants it first."""

PROGRAM = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from glmq.optional_packages import missing_package

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def print_twice(text: str) -> None:
    "Print twice."

FEATURES = json.loads(sys.argv[1])
absent = Absent()
sys.meta_path.insert(0, absent)
told = {}
for absent.package, feature in FEATURES.items():
    for name in [name for name in sys.modules if name.partition(".")[0] in (absent.package, "glmq")]:
        del sys.modules[name]
    shown = io.StringIO()
    try:
        with redirect_stderr(shown), redirect_stdout(shown):
            exec(feature)
    except ModuleNotFoundError as error:
        shown.write(f"glmq: error: {missing_package(error)}")
    except SystemExit as end:
        assert end.code == 2
    except Exception as error:
        shown.write(f"glmq: error: {error}" if "GlmqError" in str(type(error).__mro__) else repr(error))
    told[absent.package] = shown.getvalue().strip().splitlines()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    """The lines that are shown for each package."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(FEATURES)],
        env=ENVIRONMENT, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("package", USES)
def test_a_missing_package_is_told_in_a_line_with_what_installs_it(told, package):
    what, install = USES[package]
    assert told[package] == [
        f"glmq: error: {what} the package {package}, which is not installed: pip install {install}"
    ]


def test_what_comes_with_python_or_the_user_is_not_meant():
    assert missing_package(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
    assert missing_package(ModuleNotFoundError("no name")) is None
