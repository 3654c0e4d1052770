"""The lines of a batch file: {"custom_id", "method": "POST", "url", "body"} in each."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from glmq_kernels.errors import GlmqError

URLS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
ID_START = "batch_req_"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class BatchRequest:
    """A request to be answered. id: made of all that it says, so that it is the same at the next run.

    line: its number, from 1. start, length: where it stands in the file, in bytes.
    """

    id: str
    custom_id: str
    line: int
    start: int
    length: int


@dataclass(frozen=True)
class BadLine:
    """A line that is no request. custom_id: where it has one. code, message: what is wrong."""

    id: str
    custom_id: str | None
    line: int
    code: str
    message: str


class BatchFile:
    """The requests of a file. name: as it is told. Raises GlmqError where it cannot be used as a whole."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name, self._file = name, file
        self.requests: list[BatchRequest] = []
        self.bad_lines: list[BadLine] = []
        try:
            self._read_lines()
        except OSError as error:
            raise GlmqError(f"{name} cannot be read: {error.strerror or error}") from None
        if not self.requests and not self.bad_lines:
            raise GlmqError(f"{name} holds no requests; write one JSON object in each line")
        self._require_own_ids()

    @property
    def ids(self) -> set[str]:
        """The ids of all lines."""
        return {each.id for each in self.requests} | {each.id for each in self.bad_lines}

    def url_and_body(self, request: BatchRequest) -> tuple[str, dict[str, Any]]:
        """What a request asks. Raises GlmqError where the file has been changed meanwhile."""
        self._file.seek(request.start)
        found = _read_line(self._file.read(request.length), request.line)
        if isinstance(found, BadLine) or found[0] != request.id:
            raise GlmqError(f"{self.name} was changed while its requests were answered; begin again")
        return found[2], found[3]

    def _read_lines(self) -> None:
        start = 0
        for number, line in enumerate(self._file, 1):
            if line.strip(b"\x00 \t\r\n" + _BOM):
                found = _read_line(line, number)
                if isinstance(found, BadLine):
                    self.bad_lines.append(found)
                else:
                    self.requests.append(BatchRequest(found[0], found[1], number, start, len(line)))
            start += len(line)

    def _require_own_ids(self) -> None:
        """Each result is told apart by its `custom_id` alone."""
        first: dict[str, int] = {}
        for request in self.requests:
            if (line := first.setdefault(request.custom_id, request.line)) != request.line:
                raise GlmqError(
                    f"{self.name}: lines {line} and {request.line} have the same custom_id"
                    f" {json.dumps(request.custom_id)[:100]}; each needs its own"
                )


def _read_line(line: bytes, number: int) -> BadLine | tuple[str, str, str, dict[str, Any]]:
    """The id, the custom_id, the path and the body of a request."""
    custom_id: str | None = None

    def bad(code: str, message: str) -> BadLine:
        return BadLine(_id(f"{number} {code}".encode(), line), custom_id, number, code, message)

    try:
        value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        return bad("invalid_json", f"the line is not JSON: {str(error)[:200]}")
    if not isinstance(value, dict):
        return bad("invalid_request", "the line is not a JSON object")
    custom_id = value.get("custom_id") if isinstance(value.get("custom_id"), str) else None
    if custom_id is None:
        return bad("missing_custom_id", "custom_id is missing, or is not a string")
    if value.get("method", "POST") != "POST":
        return bad("invalid_method", "method must be POST")
    url, body = value.get("url"), value.get("body")
    if url not in URLS:
        return bad("invalid_url", f"url must be one of {', '.join(URLS)}")
    if not isinstance(body, dict):
        return bad("invalid_body", "body must be a JSON object")
    return _id(line.strip()), custom_id, url, body


def _id(*parts: bytes) -> str:
    return ID_START + hashlib.sha256(b"\n".join(parts)).hexdigest()[:24]


@contextmanager
def open_batch_file(path: Path | None) -> Iterator[BatchFile]:
    """The requests of a file, or of standard input. Raises GlmqError."""
    name = "standard input" if path is None else str(path)
    try:
        file: BinaryIO = sys.stdin.buffer if path is None else open(path, "rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise GlmqError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    with file:
        if path is not None and file.seekable():
            yield BatchFile(name, file)
            return
        with cast("BinaryIO", tempfile.TemporaryFile()) as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield BatchFile(name, copy)
