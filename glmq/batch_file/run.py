"""Answers the requests of a batch file, many at once, and hands each result over as it is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..server.in_process import InProcessServer
from ..server.settings import ServerSettings
from .order import Turn, by_beginning
from .progress import Progress
from .requests import BadLine, BatchFile, BatchRequest
from .results import Found, Results

if TYPE_CHECKING:
    from ..model import Model

TELL_SECONDS = 0.5
OUT_OF_MEMORY = 429
NO_LIMIT = 10**9

PREPARED = 2
"""Requests beside those that are being answered, which begin as soon as one of these has ended."""

ONE_TOKEN = {
    "/v1/chat/completions": {"max_tokens": 1, "max_completion_tokens": 1, "n": 1},
    "/v1/completions": {"max_tokens": 1, "n": 1, "echo": False},
    "/v1/responses": {"max_output_tokens": 1, "store": False},
}
"""What makes a request read its prompt and do little else."""


def answer_file(
    model: Model,
    file: BatchFile,
    results: Results,
    found: Sequence[Found],
    n_parallel: int,
    tell: Callable[[Progress], None],
) -> Progress:
    """Answer the requests of a file, `n_parallel` at once, but for those whose results were found.

    tell: called again and again with how far it is. Raises what `results` raises, GlmqError where the file
    has been changed, and KeyboardInterrupt; what was answered by then is in `results`.
    """
    there = {each.id for each in found}
    n_all = len(file.requests) + len(file.bad_lines)
    progress = Progress(n_all, len(there), len(there), sum(not each.is_answer for each in found))

    def take(result: dict[str, Any]) -> None:
        results.append(result)
        progress.count(result)

    for line in file.bad_lines:
        if line.id not in there:
            take(result_of_bad_line(line))
    turns = by_beginning(file, [each for each in file.requests if each.id not in there])
    began = time.monotonic()

    def show() -> None:
        progress.seconds = time.monotonic() - began
        tell(progress)

    asyncio.run(_answer_all(model, file, turns, n_parallel, take, show))
    show()
    return progress


async def _answer_all(
    model: Model,
    file: BatchFile,
    turns: Sequence[Turn],
    n_parallel: int,
    take: Callable[[dict[str, Any]], None],
    show: Callable[[], None],
) -> None:
    """Answer all. Those that find no memory beside others are answered again, with fewer at once."""

    async def keep_showing() -> None:
        while True:
            show()
            await asyncio.sleep(TELL_SECONDS)

    server = InProcessServer(model, ServerSettings(n_parallel=n_parallel, n_queue=NO_LIMIT))
    showing = asyncio.create_task(keep_showing())
    try:
        while turns:
            answering = _Round(server, file, turns, take, alone=n_parallel == 1)
            n_workers = 1 if n_parallel == 1 else n_parallel + PREPARED
            await _all(answering.work() for _ in range(n_workers))
            turns, n_parallel = answering.too_large, max(1, n_parallel // 2)
    finally:
        showing.cancel()
        await asyncio.to_thread(server.close)


class _Round:
    """Answers turns, by any number of workers. alone: whether there is one.

    too_large: those that found no memory beside others.
    """

    def __init__(
        self,
        server: InProcessServer,
        file: BatchFile,
        turns: Sequence[Turn],
        take: Callable[[dict[str, Any]], None],
        *,
        alone: bool,
    ) -> None:
        self._server, self._file, self._take, self._alone = server, file, take, alone
        self._turns = iter(turns)
        self._next = asyncio.Lock()
        self.too_large: list[Turn] = []

    async def work(self) -> None:
        """Answer one request after another. While one is read ahead, no other begins."""
        while True:
            async with self._next:
                turn = next(self._turns, None)
                if turn is None:
                    return
                url, body = self._file.url_and_body(turn.request)
                body["stream"] = False
                if turn.leads:
                    await self._server.post(url, body | ONE_TOKEN[url])
            status, answer = await self._server.post(url, body)
            if status == OUT_OF_MEMORY and not self._alone:
                self.too_large.append(turn)
            else:
                self._take(result_of(turn.request, status, answer))


async def _all(workers: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all workers; the first that fails ends the others."""
    tasks = [asyncio.create_task(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def result_of(request: BatchRequest, status: int, body: Any) -> dict[str, Any]:
    """The result of a request that was answered or refused."""
    response = {"status_code": status, "request_id": f"req_{uuid4().hex}", "body": body}
    return {"id": request.id, "custom_id": request.custom_id, "response": response, "error": None}


def result_of_bad_line(line: BadLine) -> dict[str, Any]:
    """The result of a line that is no request."""
    error = {"code": line.code, "message": f"line {line.line}: {line.message}"}
    return {"id": line.id, "custom_id": line.custom_id, "response": None, "error": error}
