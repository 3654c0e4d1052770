"""Commands as tools: how arguments reach a program, and what comes back from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import MAX_OUTPUT, Output, Tail, end_process
from .tool import ToolFailed

PLACEHOLDER = re.compile(r"\{\{([\w-]+)\}\}|\{([\w-]+)\}")
"""`{name}`, and `{{name}}` for the text `{name}` itself."""


@dataclass(frozen=True)
class Command:
    """A program with arguments, or a line for the shell.

    The arguments of a call come as JSON on standard input in both forms.

    A list is run without a shell. `{name}` in its elements stands for an argument's value: a string as it
    is, anything else as JSON. Whatever the value holds, an element stays one argument of the program. It
    may not begin with `-` where it begins its element, unless `--` stands before: the program would
    take it for an option. An element that names an argument which the call does not give is left out.

    A string is run by the shell as it is written. Values are never put into it; each is in an
    environment variable, `ARG_city` for `city` (`ARG_user_id` for `user-id`), to be written
    "$ARG_city".

    Either is ended after the time limit with all that it started, and what it leaves running when it
    ends is ended too.
    """

    words: tuple[str, ...] | str
    directory: Path | None
    defaults: Mapping[str, Any]

    def run(self, arguments: dict[str, Any], time_limit: float) -> str:
        """Standard output. Raises ToolFailed."""
        arguments = {**self.defaults, **arguments}
        environment = dict(os.environ)
        if isinstance(self.words, str):
            words: list[str] | str = self.words
            environment |= {f"ARG_{_variable(name)}": _text(value) for name, value in arguments.items()}
        else:
            words = list(filled(self.words, arguments))
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace"))
            stdin.seek(0)
            try:
                process = subprocess.Popen(
                    words,
                    shell=isinstance(words, str),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=self.directory,
                    env=environment,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise ToolFailed(f"{self.name} cannot be run in {self.place}: {reason}") from None
        try:
            return self._outcome(process, time_limit)
        except BaseException:  # Ctrl-C may come before all is set up
            end_process(process)
            raise

    @property
    def name(self) -> str:
        """What messages call it."""
        return "the command" if isinstance(self.words, str) else self.words[0]

    @property
    def place(self) -> Path:
        """The directory it runs in."""
        return self.directory or Path.cwd()

    def _outcome(self, process: subprocess.Popen[bytes], time_limit: float) -> str:
        assert process.stdout and process.stderr
        output = Output(process.stdout, MAX_OUTPUT, lambda: end_process(process))
        complaints = Tail(process.stderr)
        problem = ""
        try:
            code = process.wait(time_limit)
            if output.too_much:
                problem = f"was stopped after {MAX_OUTPUT >> 20} MB of output"
            elif code:
                problem = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            problem = f"was stopped after {time_limit:g} s"
        finally:
            end_process(process)
        output.join(1)  # for ever where a daemon has kept the pipe
        shown = _decoded(bytes(output.kept))
        if not problem:
            return shown or "(no output)"
        parts = [f"{self.name} {problem} in {self.place}"]
        for stream, text in (("standard error", complaints.text()), ("standard output", shown.strip())):
            if text:
                parts.append(f"{stream}:\n{text}")
        raise ToolFailed("\n".join(parts))


def filled(words: tuple[str, ...], arguments: Mapping[str, Any]) -> list[str]:
    """The words of a command with values in the place of placeholders. Raises ToolFailed."""
    done = [words[0]]
    for word in words[1:]:
        names = placeholders(word)
        if any(name not in arguments for name in names):
            continue
        full = PLACEHOLDER.sub(lambda match: _placed(match, arguments), word)
        is_number = len(names) == 1 and not isinstance(arguments[names[0]], str)  # it may be negative
        if names and full.startswith("-") and not (word.startswith("-") or is_number or "--" in done):
            raise ToolFailed(f"{names[0]} may not begin with '-': {words[0]} would take it for an option")
        done.append(full)
    return done


def placeholders(word: str) -> list[str]:
    """Names of the arguments that a word of a command has placeholders for."""
    return [match[2] for match in PLACEHOLDER.finditer(word) if match[2] is not None]


def _placed(match: re.Match[str], arguments: Mapping[str, Any]) -> str:
    return f"{{{match[1]}}}" if match[2] is None else _text(arguments[match[2]])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _decoded(data: bytes) -> str:
    if b"\0" in data:
        return f"[{len(data)} bytes that are no text]"
    return data.decode("utf-8", "replace").replace("\r\n", "\n")
