"""A batch file over Ray Data: `glmq batch` on many machines.

    python batch_glmq.py requests.jsonl results.jsonl --model demo-tools --replicas 2 --threads 1

Actors with a model each answer blocks of requests; results are written here as they come. Requests and
results are those of `glmq batch`, and a run that was ended goes on with the same command.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import ray

import glmq
from glmq.batch_file.order import by_beginning
from glmq.batch_file.requests import open_batch_file
from glmq.batch_file.results import ResultFile
from glmq.batch_file.run import result_of, result_of_bad_line
from glmq.server.in_process import InProcessServer
from glmq.server.settings import ServerSettings

BLOCK = 64
"""Requests that an actor takes at once. Those behind each other in the file's order begin alike."""


class Answers:
    """Answers blocks of requests with a model of its own."""

    def __init__(self, model: str, threads: int | None, parallel: int) -> None:
        self._model = glmq.load(model, n_threads=threads)
        self._settings = ServerSettings(n_parallel=parallel, n_queue=BLOCK * 256)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """url, body -> status, answer, in as many rows."""
        pairs = [(url, json.loads(body)) for url, body in zip(block["url"], block["body"], strict=True)]
        answers = asyncio.run(self._answer(pairs))
        return {
            "number": block["number"],
            "status": [status for status, _ in answers],
            "answer": [json.dumps(answer) for _, answer in answers],
        }

    async def _answer(self, pairs: Sequence[tuple[str, dict[str, Any]]]) -> list[tuple[int, Any]]:
        server = InProcessServer(self._model, self._settings)
        try:
            return await asyncio.gather(*(server.post(url, body | {"stream": False}) for url, body in pairs))
        finally:
            await asyncio.to_thread(server.close)


def answer_batch(
    asked: Path, results: Path, *, model: str, replicas: int, threads: int | None, parallel: int
) -> None:
    """Answer the requests of a file that have no result yet."""
    with open_batch_file(asked) as file, closing(ResultFile(results, file.ids)) as to:
        there = {each.id for each in to.found}
        for line in file.bad_lines:
            if line.id not in there:
                to.append(result_of_bad_line(line))
        left = [turn.request for turn in by_beginning(file, file.requests) if turn.request.id not in there]
        if not left:
            return
        rows = []
        for number, request in enumerate(left):
            url, body = file.url_and_body(request)
            rows.append({"number": number, "url": url, "body": json.dumps(body)})
        answers = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // BLOCK)).map_batches(
            Answers,
            fn_constructor_args=(model, threads, parallel),
            batch_size=BLOCK,
            num_cpus=threads or 1,
            compute=ray.data.ActorPoolStrategy(size=replicas),
        )
        for row in answers.iter_rows():
            to.append(result_of(left[row["number"]], row["status"], json.loads(row["answer"])))


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requests", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--model", default="demo-tools")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of each replica")
    parser.add_argument("--parallel", type=int, default=16, help="answers at once of each replica")
    given = parser.parse_args()
    try:
        answer_batch(
            given.requests,
            given.results,
            model=given.model,
            replicas=given.replicas,
            threads=given.threads,
            parallel=given.parallel,
        )
    except glmq.GlmqError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
