"""What goes wrong is told in the words of a library: attributes for programs, no command line's options."""

from __future__ import annotations

import ast
import pickle
import re

import pytest

import glmq
from glmq.cli.error_line import OPTIONS

from .test_command_line import ROOT

LIBRARY = [
    path
    for folder in ("glmq", "kernels", "convert")
    for path in (ROOT / folder).rglob("*.py")
    if "cli" not in path.relative_to(ROOT).parts
]
COMMANDS = "save|load|compact|undo|clear|retry|model"
OF_THE_COMMAND_LINE = re.compile(rf"(?<![\w-])--[a-z][a-z-]+|(?<![\w/.}}>])/(?:{COMMANDS})\b")
OF_OTHER_PROGRAMS = ("llama-gguf-split --merge",)


ERRORS = [
    glmq.ContextFull,
    glmq.FileExists,
    glmq.LoadedBeforeFork,
    glmq.ModelClosed,
    glmq.NotFinite,
    glmq.OutOfPages,
    glmq.SessionBusy,
    glmq.WrongSession,
]


def is_error(node):
    """Whether a piece of a program makes an error."""
    if isinstance(node, ast.Raise):
        return isinstance(node.exc, ast.Call)
    name = getattr(node, "func", None)
    name = getattr(name, "id", getattr(name, "attr", ""))
    return name.endswith("Error") or name in [error.__name__ for error in ERRORS]


def texts(path):
    """The texts of the errors that a file makes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if is_error(node):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_no_error_of_the_library_names_an_option_or_a_command_of_the_chat():
    found = []
    for path in LIBRARY:
        for text in texts(path):
            for other in OF_OTHER_PROGRAMS:
                text = text.replace(other, "")
            found += [(path.name, text)] if OF_THE_COMMAND_LINE.search(text) else []
    assert found == []
    assert sum(1 for path in LIBRARY for _ in texts(path)) > 300
    assert OF_THE_COMMAND_LINE.search("leave out --ctx") and OF_THE_COMMAND_LINE.search("; /undo makes room")
    assert all(OF_THE_COMMAND_LINE.search(option) for option in OPTIONS.values())


@pytest.mark.parametrize("error", ERRORS)
def test_errors_are_of_one_family_and_can_be_sent_to_other_processes(error):
    assert issubclass(error, glmq.GlmqError)
    again = pickle.loads(pickle.dumps(error("what is wrong")))
    assert type(again) is error and str(again) == "what is wrong"


def test_a_full_context_tells_how_much_there_was_and_is(small):
    with pytest.raises(glmq.ContextFull, match="300 tokens do not fit into a context of 256") as full:
        small.generate([1] * 300).run()
    assert (full.value.n_tokens, full.value.n_ctx, full.value.setting) == (300, 256, "n_ctx")
    again = pickle.loads(pickle.dumps(full.value))
    assert (again.n_tokens, again.n_ctx, again.setting) == (300, 256, "n_ctx")


def test_the_public_names_are_listed_and_are_there():
    assert dir(glmq) == sorted(glmq.__all__)
    assert all(getattr(glmq, name) is not None for name in glmq.__all__)


def test_things_tell_what_they_are(small):
    assert repr(small) == "<Model small.gguf: glm4moe, 256 tokens of context>"
    assert repr(small.session()) == "<Session of small.gguf: 0 of 256 tokens>"
    small.close()
    assert repr(small) == "<Model small.gguf: glm4moe, 256 tokens of context, closed>"
