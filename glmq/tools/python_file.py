"""Python files of tools, run by a process of their own that may be killed without harm to the model's."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from glmq_kernels.errors import GlmqError

from .processes import Tail, end_process
from .tool import Tool, ToolFailed, ToolSource

START_LIMIT = 60.0
"""Seconds that a file may take to be imported."""

START = """
import sys
sys.path[:] = filter(None, sys.path)  # no modules of the folder that the program happens to run in
import json
sys.path[:] = json.loads(sys.argv[1])
from glmq.tools.python_worker import main
main(sys.argv[2])
"""


def load_python_tools(path: Path, start_limit: float = START_LIMIT) -> ToolSource:
    """The tools of a file. Raises GlmqError: file, line and reason."""
    worker = PythonWorker(path, start_limit)
    tools = tuple(
        Tool(name, description, parameters, partial(worker.call, name), str(path))
        for name, description, parameters in worker.start()
    )
    return ToolSource(tools, worker.close)


class PythonWorker:
    """The process for one file. It is started again when a call had to be stopped or it has ended."""

    def __init__(self, path: Path, start_limit: float) -> None:
        self._path = path.resolve()
        self._start_limit = start_limit
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def start(self) -> list[Any]:
        """Import the file; gives name, description and parameters of its tools. Raises GlmqError."""
        self._running = _Running(self._path)
        try:
            answer = self._running.answer(self._start_limit)
        except TimeoutError:
            self._stop()
            raise GlmqError(f"{self._path} was not imported within {self._start_limit:g} s") from None
        except EOFError:
            end = " · ".join(self._stop(has_ended=True).splitlines())
            raise GlmqError(f"{self._path} ended its process while it was imported, {end}") from None
        except BaseException:
            self._stop()
            raise
        if "problem" in answer:
            self._stop()
            raise GlmqError(answer["problem"])
        tools: list[Any] = answer["tools"]
        return tools

    def call(self, name: str, arguments: dict[str, Any], time_limit: float) -> str:
        """A function's result. Raises ToolFailed."""
        with self._lock:
            try:
                if self._running is None:
                    self.start()
                assert self._running
                answer = self._running.ask({"name": name, "arguments": arguments}, time_limit)
            except TimeoutError:
                self._stop()
                lost = f"what {self._path.name} kept in memory is lost"
                raise ToolFailed(f"{name} was stopped after {time_limit:g} s; {lost}") from None
            except (EOFError, OSError):
                raise ToolFailed(f"{name} ended its process {self._stop(has_ended=True)}") from None
            except GlmqError as error:
                raise ToolFailed(str(error)) from None
            except BaseException:
                self._stop()
                raise
        if "failed" in answer:
            raise ToolFailed(answer["failed"])
        return str(answer["result"])

    def close(self) -> None:
        """End the process."""
        self._stop()

    def _stop(self, has_ended: bool = False) -> str:
        """End the process, if it still runs; tells how it ended by itself."""
        running, self._running = self._running, None
        return running.stop(has_ended) if running else ""


class _Running:
    """A worker's process and the threads that read what it writes."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, json.dumps([os.path.abspath(p) for p in sys.path]), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout and self._process.stderr
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._complaints = Tail(self._process.stderr)
        reader = threading.Thread(
            target=_pass_lines, args=(self._process.stdout, self._answers.put), daemon=True
        )
        reader.start()

    def ask(self, request: dict[str, Any], time_limit: float) -> dict[str, Any]:
        """Send a request; gives the answer. Raises OSError, EOFError and TimeoutError."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return self.answer(time_limit)

    def answer(self, time_limit: float) -> dict[str, Any]:
        """The next line that the process writes. Raises EOFError and TimeoutError."""
        try:
            line = self._answers.get(timeout=time_limit)
        except queue.Empty:
            raise TimeoutError from None
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self, has_ended: bool) -> str:
        """Kill the process; tells how it ended and its last words, where it has ended by itself."""
        if has_ended:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)  # its pipes are closed a moment before
        code = self._process.poll()
        end_process(self._process)
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        how = f"by signal {-code}" if code and code < 0 else f"with exit code {code}"
        return f"{how}\n{self._complaints.text()}".strip() if has_ended else ""


def _pass_lines(pipe: IO[bytes], put: Callable[[bytes], None]) -> None:
    """Hand on each line of a pipe, and at its end an empty one."""
    with pipe:
        for line in pipe:
            put(line)
    put(b"")
